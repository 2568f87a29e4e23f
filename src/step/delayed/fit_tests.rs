use super::super::columns::told;
use super::*;

fn column(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        type_name: "text".to_owned(),
        parts: None,
        not_null: false,
        has_default: false,
        default: None,
        is_generated: false,
    }
}

fn table(name: &str, columns: Vec<Column>) -> TableColumns {
    TableColumns {
        table: TableName::new("public", name),
        root: None,
        columns,
    }
}

#[test]
fn a_type_that_loses_nothing_is_told_from_others() {
    for (of, there) in [
        ("integer", "bigint"),
        ("bigint", "numeric"),
        ("character varying(10)", "text"),
        ("character varying(10)", "character varying(12)"),
        ("text", "character varying"),
        ("numeric(12,2)", "numeric(14,4)"),
        ("numeric(12,2)", "numeric"),
        ("timestamp(3) with time zone", "timestamp with time zone"),
        ("timestamp(3) with time zone", "timestamp(4) with time zone"),
    ] {
        assert!(holds_all(of, there), "{of} {there}");
    }
    for (of, there) in [
        ("bigint", "integer"),
        ("numeric", "bigint"),
        ("integer", "numeric(4,2)"),
        ("numeric(12,4)", "numeric(12,2)"),
        ("numeric(12,2)", "numeric(12,4)"),
        ("numeric", "numeric(12,2)"),
        ("character varying(10)", "character(12)"),
        ("text", "character varying(10)"),
        ("real", "double precision"),
        ("timestamp with time zone", "date"),
        ("timestamp with time zone", "timestamp without time zone"),
        ("timestamp with time zone", "timestamp(3) with time zone"),
        ("integer[]", "bigint[]"),
    ] {
        assert!(!holds_all(of, there), "{of} {there}");
    }
}

#[test]
fn a_label_that_has_the_name_of_another_is_told_from_it() {
    let labels = |labels: &[(u32, &str)]| -> Vec<EnumLabel> {
        let label = |(oid, label): &(u32, &str)| EnumLabel {
            type_name: "public.state".to_owned(),
            oid: *oid,
            label: (*label).to_owned(),
        };
        labels.iter().map(label).collect()
    };
    let made = labels(&[(1, "new"), (2, "done")]);
    let compared = |now: &[(u32, &str)], of_later: Option<&TableName>| {
        let mut fit = Fit::default();
        fit.compare_labels(&made, &labels(now), of_later);
        (fit.misfits.len(), fit.statements.len(), fit.remarks.len())
    };
    // Given another one more, or another name alone, with which the load fails.
    assert_eq!(
        compared(&[(1, "new"), (3, "more"), (2, "done")], None),
        (0, 0, 0)
    );
    assert_eq!(compared(&[(1, "new"), (2, "shipped")], None), (0, 0, 0));
    let taken = [(1, "new"), (2, "shipped"), (3, "done")];
    assert_eq!(compared(&taken, None), (1, 2, 0));
    let table = TableName::new("public", "orders");
    assert_eq!(compared(&taken, Some(&table)), (0, 0, 1));
    assert_eq!(compared(&[(1, "done"), (2, "new")], None), (2, 4, 0));
}

#[test]
fn what_rows_do_not_fit_to_is_said_with_what_fixes_it() {
    let with_default = Column {
        not_null: true,
        has_default: true,
        default: Some("'web'::text".to_owned()),
        ..column("Channel")
    };
    let counted = Column {
        not_null: true,
        has_default: true,
        default: Some("nextval('s'::regclass)".to_owned()),
        ..column("n")
    };
    let generated = |name| Column {
        is_generated: true,
        ..column(name)
    };
    let needed = |name| Column {
        not_null: true,
        ..column(name)
    };
    let number = Column {
        type_name: "integer".to_owned(),
        ..column("number")
    };
    let of_type = |type_name: &str| Column {
        type_name: type_name.to_owned(),
        ..column("wider")
    };
    let source = [
        table("gone", vec![column("id")]),
        table(
            "orders",
            vec![
                column("id"),
                with_default,
                counted,
                column("computed"),
                generated("sum"),
                number,
                of_type("integer"),
                needed("both"),
                Column {
                    default: Some("(net * 2)".to_owned()),
                    ..generated("gross")
                },
            ],
        ),
        table("part1", vec![column("id")]),
        table("part2", vec![column("id")]),
    ];
    let part = |name| TableColumns {
        root: Some(TableName::new("public", "parts")),
        ..table(name, vec![column("other")])
    };
    let target = [
        table(
            "orders",
            vec![
                column("id"),
                generated("computed"),
                column("number"),
                of_type("bigint"),
                needed("both"),
                needed("theirs"),
                column("gross"),
                Column {
                    default: Some("'new'::text".to_owned()),
                    has_default: true,
                    ..needed("channel")
                },
                column("note"),
                generated("more"),
            ],
        ),
        part("part1"),
        part("part2"),
    ];
    let replaced = ["id", "note", "theirs"]
        .map(|column| (TableName::new("public", "orders"), column.to_owned()));
    let fit = compare(&source, &target, &replaced);
    insta::assert_snapshot!(fit.misfits.join("\n"), @r"
    the table public.gone is not on the target
    public.orders has no column Channel (text)
    public.orders has no column n (text)
    public.orders computes the column computed, and the source does not
    public.orders: the column number is text on the target and integer on the source, and may not hold each value as it is
    public.orders: the column gross is generated on the source, so that the rows come without its values, and the target does not compute them
    public.orders has a column theirs that is NOT NULL and has no default, and the source does not have it
    public.part1 has no column id (text)
    public.part2 has no column id (text)
    ");
    insta::assert_snapshot!(fit.statements.join("\n"), @r#"
    ALTER TABLE "public"."orders" ADD COLUMN "Channel" text DEFAULT 'web'::text NOT NULL;
    ALTER TABLE "public"."orders" ADD COLUMN "n" text; -- NOT NULL on the source: SET NOT NULL once its rows are loaded
    ALTER TABLE "public"."orders" ALTER COLUMN "computed" DROP EXPRESSION;
    ALTER TABLE "public"."orders" ALTER COLUMN "number" TYPE integer;
    ALTER TABLE "public"."orders" DROP COLUMN "gross", ADD COLUMN "gross" text GENERATED ALWAYS AS ((net * 2)) STORED; -- what clients wrote to it is computed; its indexes and constraints go with it: create them again; DROP EXPRESSION once the rows are loaded
    ALTER TABLE "public"."orders" ALTER COLUMN "theirs" DROP NOT NULL;
    ALTER TABLE "public"."parts" ADD COLUMN "id" text;
    "#);
    insta::assert_snapshot!(told(fit.remarks.iter()).join("\n"), @r"
    public.orders: the column wider is bigint on the target and integer on the source, of which it holds every value
    public.orders: the source does not have these columns, and the loaded rows got their defaults there, as they were then: channel (DEFAULT 'new'::text), note (NULL); where a release gave other values to the rows that it found, by UPDATE or by a default that it changed after, give these to the loaded rows as well
    public.orders: these columns of the restore were dropped, and others have their names, which got the values of the source: id; where they mean something else (another unit, another format), convert the values of the loaded rows as the release did those of the rows that it found
    public.parts: the source does not have these columns, and the loaded rows got their defaults there, as they were then: other (NULL); where a release gave other values to the rows that it found, by UPDATE or by a default that it changed after, give these to the loaded rows as well
    ");
    assert_eq!(compare(&source[1..], &source[1..], &[]), Fit::default());
}
