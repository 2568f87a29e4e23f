//! What the stemmers of two servers make of the same words: those of a language change with major versions.

use futures_util::future::try_join_all;

use super::query;
use crate::postgres::{Connection, Error};

/// Languages, each with words: common ones, and such as some versions take for others.
const WORDS: [(&str, &str); 29] = [
    (
        "arabic",
        "كتاب كتب مكتبة المدرسة مدرسون يكتبون السيارات والبيت للناس جميلة معلمون المعلمات الأولاد كبيرة \
         أحسن استخدام يستخدمون بالقلم",
    ),
    (
        "armenian",
        "աղոթելու ապարներով արևափայլքի բույրով գտնելն դրոշներից էթիկան թվագրել լռության ծնկներից կընտրվի \
         կրումը հացահատիկն հրեշների մարմիններն մտածեն նրբերշիկը ուտելիքին պարտիաները սառույցից սրանց \
         տանիքը ցողունները օդուժը",
    ),
    (
        "basque",
        "aipamen aretoan azalak behartuak bizirautea dinamika elementua errektorea ezarriak garaitan \
         grafikoan herrietan ijito itxaropena kaosa kronikoak lotutakoa miseria odolean partidako \
         sagaratu susmagarri uholdea zezakeela",
    ),
    (
        "catalan",
        "adoptats anteres automoció cabien claredat convergeix deliris dolce entrés evolutives formularis \
         habitant ingesta lisosomal paludisme podar pujol rendís savis sufragis travessada virtuts",
    ),
    (
        "danish",
        "bolværker domstol faldne formente gadis haggija holdt indjage kappen kyster løgnelæber målet \
         omtrent pigebarn rovet sjesjaj småkvæget stævned tildelte tøjlesløst usporlige væltede",
    ),
    (
        "dutch",
        "abs afleggen arke bakt bemetering bode brosse discussies ers fabels geschoold herkreeg juicht \
         leger minke ongevallen perceel rijkdom sneller terblijt venster volstaan wrakken",
    ),
    (
        "english",
        "added adding apologists arsenide carried deadlock ebbed ebbing erred erring excellency geologist \
         gurgling internalize internments lattice nourished offing organic ornithologist promiseth \
         secrete sweep vermilion",
    ),
    (
        "estonian",
        "algatusi avalikult elutoas hambaravi intsidendi kahureid kiireid koosnedes kõrtsi liikmeteks \
         madudel muusikutega näitavat paljunevad praeguse rahvuslike saatejuhina soodsam süsteemse terade \
         tähtsama vajadused volikirja õpilastest",
    ),
    (
        "finnish",
        "ahmii aktivoivat ambomaan arkisen asumisensa ducata elokuisia evening fuusion haastanut \
         hankkivan heinähattu hiihdämme huumaavaa häviöt iloitaan",
    ),
    (
        "french",
        "aiguë allée aïe beauvais bondissait compagnies distincts enverra exiguïté françaises goguenards \
         japonaises judaïsme mosaïstes mouvement niais niée permit poux ramena réveillés",
    ),
    (
        "german",
        "achseln achtet aufgeklärt bedürfnisse bittet demütigte ekeln erkenntnisse fallet formeln freuend \
         geschehnisse heizet helmzier kostet lokal meldet rostige rudeln tiefem wehrte",
    ),
    (
        "greek",
        "έσβησε έως ίσα ίσαμε ανακόπηκε αρχοντικού γελωτοποιό διδάσκοντα εις εμπρησμός ευέλικτης εώς ιού \
         ιστών ισότροπο κομματάκι μαζευόταν νικηφόροι παλαίμαχου πορίσματος σερίφης συσπείρωσε υδρόγειες \
         χελιδονιού",
    ),
    (
        "hindi",
        "अनुग्रह आठवीं उपकरणिका औषधियां कीनेसियन ख़लीफ़ा ग्लूकोस जयादा टोपियों तैरता ध्रुवों पख्तूनख्वा \
         पूछते फ़िलिप बानर भाईयो मार्क्स युनिट रोपनी वाहक शाहनवाज समूहबद्ध सुविधाधिकार हर्ष",
    ),
    (
        "hungarian",
        "agrártárca akitől ambíciója barna betáplálja borozó bölcsen jőve kamarából kereskedő kikérdezi \
         kitűzve kormánytól képviselő kődarab latinul lepedővel lábat magasnak megjárása mezőnyénél \
         másikért műből művet",
    ),
    (
        "indonesian",
        "alternans bantengan berslogan depopulasi dipermudah emisinya gasal homilinya kaburnya kerutan \
         lancang mariyuana mengetik mosaik padankan pengacakan pisan sebagiaan sinyalnya tajdid testis \
         vestibuli",
    ),
    (
        "irish",
        "aithníom beinn blaisim carbhait cholunáid cómhair deargnocht dóréitithe eocairist filiúlacht \
         gcloigeann glasach húdarachta lasrachaí mbácálann migis ngnóthas phlucamais reiviú scolóig \
         shruthaigh thógail tuiscintí",
    ),
    (
        "italian",
        "affermato archivio basato cantona combattuta cresc disposti divano estere freddato heads intern \
         lodevoli omnia persuade procede residenti rivalutare scongiura solennità studiata tragga veruna",
    ),
    (
        "lithuanian",
        "apgaubti atsiveria balti didesniąją dukters formavosi idėjiškai kalnynų koveriai kraujuoti \
         maksimalią moterimi nefrito padauginus pažymėjimų perveria priešinosi ryšulius sesers sociologų \
         svetainę tvarte šlovės",
    ),
    (
        "nepali",
        "अचेतन इन्जेक्सन ऋषिकल्प कालखण्डदेखि खुम्चिन्छ गिज्याउछु ङ्याउरो चिप्लदा जन्मिएका टाटो डढ्दैछ \
         तङग्रेका दंशक धान्नेछ्यौ न्याउरो पाउनुहुन्छ फस्दैथियो बाटुल्दो भुल्नुहुन्छ मोड्यौ रेट्नु \
         ल्याउनेहरु समात्लान् हराउथी",
    ),
    (
        "norwegian",
        "arvlataren asters blink dragen figuren fremst fôra guttene knepper likskapen motorveg oppgjøret \
         pervers prøvt sameleis slektning styggelig tiåret transvers utfor vimsete",
    ),
    (
        "portuguese",
        "adquiri apreendida barrar comarcas criticam cápsulas detentor devolução encantados execuções \
         fornecer irmão luciene modelista oprimidos reprodução retorno versáteis",
    ),
    (
        "romanian",
        "afiş ajutaje aţi barurile casabila contor deriziunea epigraf fructifice hoţ ierbar jubilant maţ \
         mesager neștiuți perne pâraiele răutăţi soţ strâmtuță ultimativ îngăduind şal şiş",
    ),
    (
        "russian",
        "актёр бессонницы визитами выслужил дергали забудет злишься клёвый княгини лошаденку надел низком \
         оркестр перейдете поклажа праведная приём простонет рисовать скрывал стада топор уроком чувствам",
    ),
    (
        "serbian",
        "ajvar boemi dimnjaka elokventne fizičare glatkim grupnim igraonica jačoj karantin ležite \
         manastire moralnome naljute obavljaš papirno rascvetalu sakupljate tragičari uhvatiti vojničkih \
         zaklopljen čudesni šnajderske",
    ),
    (
        "spanish",
        "advierte alineacion arquero cigarros constitucion coronacion depuracion despierta educacion \
         encuadren evaluacion fallo güerito introducir magníficas nacido partir prever regularizó selva \
         tendido vería",
    ),
    (
        "swedish",
        "avlöste badet beandran debet djärvhet duvoröst fruset fångade förtröstar huset kedja komatöst \
         livet lögnens monstruöst orerade rigoröst sanningen stearinen suset tråget venöst välmenade",
    ),
    (
        "tamil",
        "வீடுகள் மரங்கள் பள்ளியில் வந்தான் செய்தார் நூல்கள் மொழியின் நாட்டில் மக்களுக்கு ஆசிரியர்கள் \
         எழுதினார்கள் பெரியது",
    ),
    (
        "turkish",
        "alsancak açıkmış binbaşı dahilinde dâhilinde eşiniz hijyenin kesinin kırdırınca motif saklayıcı \
         soyvural sunuz tecrübesi uçuşu çekinmeyin ılgının",
    ),
    (
        "yiddish",
        "אימעצער אױסטױגנדיק בלעטעלעך גלױבלעך געדינטער געטונקטע געעלטערטע געשטרױכלטס דיניע דרײענדיק הערשן \
         זױערערן טױבלעך יעריקן לצעװענדיק מנשהן נערנדיקער עקיקע ציכעלע צעריסנקײט קלײנס רוסיקע שורשים \
         שמוכטסט",
    ),
];

/// Languages of some of whose words the servers make other lexemes.
pub(super) async fn that_differ(
    source: &Connection,
    target: &Connection,
) -> Result<Vec<String>, Error> {
    let last = last_letter(source).await?.min(last_letter(target).await?);
    let of_each = WORDS.iter().map(|(language, words)| async move {
        let words = words.split(' ');
        let words = words.filter(|word| word.chars().all(|letter| letter <= last));
        let words: Vec<&str> = words.collect();
        let of_source = lexemes(source, language, &words).await?;
        let of_target = lexemes(target, language, &words).await?;
        let has_both = of_source.is_some() && of_target.is_some();
        Ok((has_both && of_source != of_target).then(|| (*language).to_owned()))
    });
    let differ = try_join_all(of_each).await?;
    Ok(differ.into_iter().flatten().collect())
}

/// Whether databases of this encoding take words of all languages: SQL_ASCII takes any bytes, and its stemmers those of UTF-8.
pub(super) fn takes_all(encoding: &str) -> bool {
    matches!(encoding, "UTF8" | "SQL_ASCII")
}

/// Up to which the connection's database has all letters.
async fn last_letter(connection: &Connection) -> Result<char, Error> {
    let sql = "SELECT getdatabaseencoding()::text";
    let row = query::row(connection, "read the encoding", sql).await?;
    Ok(match row.get::<_, &str>(0) {
        encoding if takes_all(encoding) => char::MAX,
        "LATIN1" => '\u{ff}',
        _ => '\u{7f}',
    })
}

/// What the server makes of the words. `None`: it has no such stemmer, or cannot use it, since a file is missing.
async fn lexemes(
    connection: &Connection,
    language: &str,
    words: &[&str],
) -> Result<Option<String>, Error> {
    let sql = "SELECT string_agg(coalesce(ts_lexize(d.oid::regdictionary, w.word)::text, ''), ' ' ORDER BY w.position) \
               FROM pg_catalog.pg_ts_dict d, unnest($2::text[]) WITH ORDINALITY AS w (word, position) \
               WHERE d.dictname = $1::text || '_stem' AND d.dictnamespace = 'pg_catalog'::regnamespace";
    match connection.query_one(sql, &[&language, &words]).await {
        Ok(row) => Ok(row.get(0)),
        Err(error) if error.as_db_error().is_some() => {
            tracing::debug!(%error, language, "what a stemmer makes of words cannot be seen");
            Ok(None)
        }
        Err(error) => Err(connection.failed("ask what stemmers make of words")(error)),
    }
}
