//! Every rule that a foreign archive can break, by its code. `docs/findings.md` is made of this list.

use imgcore::{Finding, Severity};

macro_rules! rules {
    ($($name:ident $code:literal $severity:ident $meaning:literal)*) => {
        $(pub(crate) const $name: &str = $code;)*

        /// Code, usual severity and meaning of every finding of this crate.
        pub const RULES: &[(&str, Severity, &str)] = &[$(($code, Severity::$severity, $meaning)),*];
    };
}

rules! {
    MEDIUM "OCI001" Error "the file cannot be read"
    TAR "OCI002" Error "a header of the archive is damaged, or is none: the rest cannot be read"
    CUT "OCI003" Error "the archive ends inside an entry: it was not copied completely"
    PACKED "OCI004" Error "the archive itself is compressed: unpack it first"
    UNENDED "OCI005" Warning "the archive has no end mark: it may be cut off"
    MEMBER_NAME "OCI006" Error "a member of the archive has a name that leaves it or confuses"
    MEMBER_TWICE "OCI007" Error "two members of the archive have one name: programs disagree on which one counts"
    MEMBER_KIND "OCI008" Error "a member of the archive is no file, folder or link inside it"
    MEMBER_COUNT "OCI009" Error "the archive has more members than any image needs"
    NO_IMAGE "OCI010" Error "the archive holds neither `index.json` nor `manifest.json`: it is no image"
    LAYOUT "OCI011" Warning "`oci-layout` is missing or names a version other than 1.0.0"
    JSON "OCI012" Error "a document is not the JSON that it should be"
    DOCUMENT_SIZE "OCI013" Error "a document is larger than 4 MiB"
    DIGEST_TEXT "OCI014" Error "a digest is not written as `sha256:` and 64 lower-case hex digits"
    DANGLING "OCI015" Error "something is referred to that is not there"
    DIGEST "OCI016" Error "bytes differ from the digest that they are stored or referred under"
    SIZE "OCI017" Error "a blob has another size than its descriptor says"
    AMBIGUOUS "OCI018" Error "a document is index and manifest at once: programs disagree on what it is"
    MEDIA_TYPE "OCI019" Warning "a media type is unknown, or differs between reference and document"
    PLATFORM "OCI020" Error "index and configuration name different platforms"
    SAME_PLATFORM "OCI021" Warning "an index names two images for one platform: clients take the first"
    NESTING "OCI022" Error "indexes are nested too deeply, refer to themselves, or name too many images"
    UNREFERENCED "OCI023" Info "a blob is in the archive that nothing refers to"
    DIFF_IDS "OCI024" Error "configuration and manifest count different numbers of layers"
    DIFF_ID "OCI025" Error "the tar inside a layer is not what the configuration says"
    COMPRESSION "OCI026" Error "the compressed data of a layer is damaged or of an unknown kind"
    BOMB "OCI027" Error "a layer unpacks to more than the limits allow"
    COMPRESSION_KIND "OCI028" Warning "a layer is compressed in another way than its media type says"
    DOCKER "OCI029" Error "`manifest.json` contradicts the index beside it"
    ENTRY_PATH "OCI030" Error "an entry of a layer has a path that leaves the image or is no text"
    ENTRY_LENGTH "OCI031" Error "an entry of a layer has a path that is too long or too deep"
    ENTRY_COUNT "OCI032" Error "an image has more entries than the limits allow"
    ENTRY_TWICE "OCI033" Error "a layer holds a path twice"
    ENTRY_BELOW "OCI034" Error "an entry of a layer lies below a link or a file"
    HARD_LINK "OCI035" Error "a hard link leads out of the image, to nothing, or to a folder"
    ENTRY_KIND "OCI036" Error "an entry of a layer is a device, a pipe, a sparse file or of an unknown kind"
    LINK_OUT "OCI037" Error "a symbolic link climbs out of the image"
    COLLISION "OCI038" Error "two paths are one where case or Unicode form does not count"
    NOT_PORTABLE "OCI039" Error "a path cannot exist on Windows, or is another one there"
    LAYER_TAR "OCI040" Error "the tar inside a layer is damaged: entries behind the damage are not seen"
    LAYER_UNENDED "OCI041" Warning "the tar inside a layer has no end mark, or data behind it"
    WHITEOUT "OCI042" Error "a whiteout names nothing that can be deleted, or has something below it"
    MORE "OCI043" Info "a rule was broken more often than is worth reading"
    HISTORY "OCI044" Error "the history tells of more layers than there are: `docker load` refuses the image"
    CREATED "OCI045" Error "the time of creation is not written as RFC 3339 has it: programs that read it refuse the image"
    ARCHITECTURE "OCI046" Warning "the architecture has another name than clients look for"
    MISSING_PLATFORM "OCI047" Error "there is no image for a platform that is asked for"
    ENVIRONMENT "OCI048" Error "an environment variable has no name or no `=`: no container starts"
    USER "OCI049" Error "the user or group is named by a word that the image's `etc/passwd` or `etc/group` does not know"
    PROGRAM "OCI050" Error "the program that the image starts is not in it"
    NOT_EXECUTABLE "OCI051" Error "the program that the image starts is not executable"
    MACHINE "OCI052" Error "the program that the image starts is for other machines than the image"
    OTHER_MACHINE "OCI053" Warning "every program in an image is for the machines of another image beside it"
    CLOSED_FOLDER "OCI054" Warning "a folder cannot be entered by its owner: only root comes to what is below"
    OPEN_FOLDER "OCI055" Warning "everybody may delete and replace what is in a folder"
    OPEN_PROGRAM "OCI056" Warning "everybody may replace what a program does"
    OPEN_SETUID "OCI057" Error "everybody may replace what a program does that runs as somebody else"
}

/// A finding with the usual severity of its rule.
pub(crate) fn finding(code: &'static str, message: impl Into<String>) -> Finding {
    let severity =
        RULES.iter().find(|(known, ..)| *known == code).map_or(Severity::Error, |(_, severity, _)| *severity);
    Finding::new(severity, code, message)
}

/// What to do about a code.
pub const CURES: &[(&str, &str)] = &[
    ("OCI001", "look at the medium and the permissions"),
    ("OCI002", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI003", "copy or download the archive again"),
    ("OCI004", "unpack it first"),
    ("OCI005", "copy or download the archive again"),
    ("OCI006", "do not unpack it: the archive is hostile or damaged"),
    ("OCI007", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI008", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI009", "do not unpack it: the archive is hostile or damaged"),
    ("OCI010", "give an image archive (`docker save`, `skopeo copy … oci-archive:`)"),
    ("OCI011", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI012", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI013", "no image needs that: the archive is hostile or damaged"),
    ("OCI014", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI015", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI016", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI017", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI018", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI019", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI020", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI021", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI022", "no image needs that: the archive is hostile or damaged"),
    ("OCI023", "nothing; the blob can be left out"),
    ("OCI024", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI025", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI026", "download the image again"),
    ("OCI027", "do not unpack it: a small file that unpacks to a huge one"),
    ("OCI028", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI029", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI030", "do not unpack it: the image is hostile or damaged"),
    ("OCI031", "do not unpack it: the image is hostile or damaged"),
    ("OCI032", "do not unpack it: the image is hostile or damaged"),
    ("OCI033", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI034", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI035", "do not unpack it: the image is hostile or damaged"),
    ("OCI036", "leave such entries out of images that are unpacked without root"),
    ("OCI037", "do not unpack it: the image is hostile or damaged"),
    ("OCI038", "rename one of them: on Windows and macOS one replaces the other"),
    ("OCI039", "rename it if the image is unpacked on Windows"),
    ("OCI040", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI041", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI042", "make the archive again with the program that wrote it, and copy it whole"),
    ("OCI043", "mend the first of these findings: the rest is of the same kind"),
    ("OCI044", "give one line of `history` for each layer, and mark the others with `empty_layer`"),
    ("OCI045", "write it as `2023-11-14T22:13:20Z`"),
    ("OCI046", "use Go's names: `arm64`, `amd64`, `386`, `arm` with a variant"),
    ("OCI047", "build the image for that platform too and put both into one index"),
    ("OCI048", "write it as `NAME=value`"),
    ("OCI049", "add the name to `etc/passwd` or `etc/group`, or give the number"),
    ("OCI050", "mend `Entrypoint`, `Cmd` or `PATH`, or add the file"),
    ("OCI051", "give the file mode 0755"),
    ("OCI052", "build the program for the image's platform"),
    ("OCI053", "build the programs for the image's platform, or name the platform that they are for"),
    ("OCI054", "give the folder mode 0755, or 0700 if only its owner is to enter"),
    ("OCI055", "give the folder mode 0755, or 1777 if everybody is to put things there"),
    ("OCI056", "give the file mode 0755"),
    ("OCI057", "give the file mode 4755"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_well_formed_sorted_and_said_once() {
        for pair in RULES.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} {}", pair[0].0, pair[1].0);
        }
        for (code, _, meaning) in RULES {
            assert!(
                code.len() == 6 && code.starts_with("OCI") && code[3..].bytes().all(|b| b.is_ascii_digit()),
                "{code}"
            );
            assert!(!meaning.is_empty() && !meaning.ends_with('.'), "{code}");
        }
        assert_eq!(finding(UNREFERENCED, "x").severity, Severity::Info);
    }
}
