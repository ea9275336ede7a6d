//! The codes of the findings that this crate makes.
//!
//! `IDB` is about idblocks, `FIT` about second-stage images, `LDR` about loader files, `LEG` about the vendor's older
//! formats, tables and partition lists, `BOT` about what a boot file holds as a whole. A code is never reused.

use imgcore::Severity::{self, Error, Info, Warning};

macro_rules! rules {
    ($($name:ident $code:literal $severity:ident $meaning:literal $(=> $cure:literal)?;)*) => {
        $(pub(crate) const $name: &str = $code;)*

        /// What to do about a code.
        pub const CURES: &[(&str, &str)] = &[$($(($code, $cure),)?)*];

        /// Every code with its severity and what it means.
        pub const RULES: &[(&str, Severity, &str)] = &[$(($code, $severity, $meaning),)*];
    };
}

rules! {
    IDB_NO_BLOCK       "IDB001" Error   "no idblock at the start of the data, or the header is cut"
        => "write the board's idbloader.img at sector 64; if it is that, fetch it again";
    IDB_IMAGE_COUNT    "IDB002" Error   "the header claims no image or more than four"
        => "fetch the file again: the BootROM refuses the header";
    IDB_HASH_OFFSET    "IDB003" Error   "the header hash is not at 0x600"
        => "fetch the file again: the BootROM refuses the header";
    IDB_HASH_KIND      "IDB004" Error   "the hash kind is none of 0, 1, 2"
        => "fetch the file again: the BootROM refuses the header";
    IDB_HEADER_HASH    "IDB005" Error   "the header hash does not match: the BootROM skips the block"
        => "fetch the file again, or build it again from its parts";
    IDB_INSIDE_HEADER  "IDB006" Error   "an image starts inside the 2 KiB header"
        => "fetch the file again, or build it again from its parts";
    IDB_BEYOND_END     "IDB007" Error   "an image ends behind the end of the file"
        => "fetch the file again: it was cut on the way";
    IDB_OVERLAP        "IDB008" Error   "two images of a block share bytes"
        => "fetch the file again, or build it again from its parts";
    IDB_IMAGE_HASH     "IDB009" Error   "the hash of an image does not match: the BootROM refuses it"
        => "fetch the file again, or build it again from its parts";
    IDB_TRUNCATED      "IDB010" Warning "the end of the file is missing and was all zeros: it starts only where zeros follow"
        => "append as many zero bytes as the message says, so that nothing older follows on the card";
    IDB_UNUSED_ENTRY   "IDB011" Info    "an entry behind the last image is not zero"
        => "nothing to do: the BootROM does not read unused entries";
    IDB_INIT_TOO_LARGE "IDB012" Error   "the init image is larger than the SRAM of the SoC"
        => "take the DDR blob or TPL of the board's SoC; the message has both sizes";
    IDB_LARGE_SPL      "IDB013" Warning "the SPL is larger than 512 KiB"
        => "take a smaller SPL, or make sure that this one is known to start on the board";
    IDB_OVERWRITTEN    "IDB014" Error   "a block is longer than the distance to its copy"
        => "pack the copies again with `rkboot build idbloader --copies`, which refuses what does not fit";
    IDB_COPY_DIFFERS   "IDB015" Warning "a copy of the block is not equal to the first"
        => "write one file made in one go; the BootROM takes the first sound copy";
    IDB_FOREIGN_DATA   "IDB016" Warning "data between or behind the copies that belongs to none"
        => "cut the file after the last copy; what else is in it belongs at its own sector";
    IDB_NO_HASH        "IDB017" Info    "the block carries no hashes"
        => "prefer a file with hashes, so that damage is seen before it is flashed";
    IDB_SIGNED         "IDB018" Info    "the block is signed; the signature is not checked"
        => "check the signature with the vendor's tools; hashes of the images are checked here";
    IDB_WRONG_VERSION  "IDB019" Error   "the SoC reads the other version of idblock"
        => "take an idbloader.img made for the board's SoC";
    IDB_RK3576         "IDB020" Warning "the block does not have the form of vendor files for the RK3576"
        => "add --boost for the vendor's form, or keep to a U-Boot that is tested without it";
    IDB_V1             "IDB021" Info    "an idblock v1: the format has no hashes, damage to its code is not seen"
        => "compare the file's digest with the publisher's: nothing in the file can say whether it is whole";
    IDB_NO_BOOT        "IDB022" Info    "the last image is empty: there is init code only"
        => "add the SPL with --spl, unless the init image loads the next stage itself";
    IDB_COUNTER        "IDB023" Info    "the counter of an entry is not its number"
        => "nothing to do: no known BootROM looks at the counter";
    IDB_OTHER_SOC      "IDB024" Error   "the DDR init code is a known blob for another SoC"
        => "take an idbloader.img made for the board's SoC, or build one with the right DDR blob";

    // --- idblock v1, RK3576, rkspi: IDB030..049
    IDB_V1_TAG         "IDB030" Error   "the init code does not begin with the tag of the SoC"
        => "take an idbloader.img made for the board's SoC; rebuild with `rkboot build idbloader --soc`, which writes the tag";
    IDB_V1_UNKNOWN_TAG "IDB031" Warning "the init code begins with the tag of no known SoC"
        => "fetch the file again; mkimage and `rkboot build idbloader` write the tag that the BootROM looks for";
    IDB_V1_SCRAMBLING  "IDB032" Warning "the payload is scrambled or plain where mkimage writes the other"
        => "make sure that the file is for this SoC: only RK3066 and RK3188 have scrambled payloads";
    IDB_V1_OFFSET      "IDB033" Warning "the init code of an idblock v1 is not right behind the header"
        => "keep to a file that is known to start the board, or build it again";
    IDB_V1_SIZES       "IDB034" Error   "the sizes in the header of an idblock v1 contradict each other"
        => "fetch the file again or build it again: the BootROM loads what the header says";
    IDB_V1_OPEN        "IDB035" Info    "the boot code was appended by hand: the header leaves 512 KiB for it"
        => "nothing to do: the BootROM reads on into whatever follows; building with --spl makes an exact header";
    IDB_V1_FLASHED     "IDB036" Info    "sectors 1 to 3 of an idblock v1 are those of a flashing tool"
        => "nothing to do: the block was read back from a medium; mkimage leaves these sectors empty";
    IDB_SPREAD         "IDB037" Info    "the idblock is spread over twice its size, for SPI flash"
        => "write it to SPI flash only; for a card build with --media sd";
    IDB_V1_SHORT       "IDB038" Warning "less than 2 KiB are missing at the end of an idblock v1, perhaps only padding"
        => "append zeros up to the length that the header says, or fetch the file again";
    IDB_SPREAD_GAP     "IDB039" Warning "data in the unused halves of a spread idblock"
        => "fetch the file again or build it again with --media spi";
    IDB_FLASH_COPIES   "IDB040" Info    "the copies lie 128 or 256 KiB apart, as in files for SPI flash"
        => "write it to SPI flash; for eMMC pack copies with `rkboot build idbloader --copies`";
    IDB_RESERVED       "IDB042" Info    "reserved bytes or flags of the header are not zero"
                                        => "nothing; no BootROM is known to read them";
    IDB_LOAD           "IDB043" Warning "an image has a load address that no known file has"
                                        => "fetch the file again; known files leave the address to the BootROM, but for those of the RK3576";

    IDB_PART_KIND      "IDB041" Warning "a part given for an idblock is another kind of file"
        => "give the DDR blob (or TPL) with --ddr and the SPL as plain program (u-boot-spl.bin) with --spl";

    // --- DDR parameters, identity, pairing: IDB050..069
    IDB_OLD_BL31       "IDB050" Warning "the DDR init code needs a newer BL31 than the second stage has"
                                        => "build the FIT with a newer BL31 of rkbin, or take older DDR init code";
    IDB_OLD_DDR        "IDB051" Warning "BL31 says that it needs newer DDR init code than the idblock has"
                                        => "take newer DDR init code of rkbin, or build the FIT with an older BL31";
    IDB_PAIR_UNKNOWN   "IDB052" Info    "whether the DDR init code and BL31 go together is not known"
                                        => "take both from one commit of rkbin";
    IDB_NO_PARAMETERS  "IDB060" Error   "no DDR parameters in the file"
                                        => "give DDR init code of rkbin (rkXXXX_ddr_*.bin); U-Boot's own TPL has no such parameters";
    IDB_PARAMETERS_CUT "IDB061" Error   "a section of the DDR parameters ends behind the end of the file"
                                        => "the file is cut; fetch it again";
    IDB_PARAMETER_VERSION "IDB062" Info "DDR parameters in a layout that is not known here"
                                        => "use rkbin's ddrbin_tool for this blob";
    IDB_ODD_UART       "IDB063" Warning "the DDR init code prints to a UART or at a speed that no board has"
                                        => "set it with `rkboot ddr FILE --uart N --iomux N --baud N -o OUT`";

    FIT_NO_TREE        "FIT001" Error   "no sound device tree at the start of the data" => "the SPL stops here; fetch the file again, or write u-boot.itb if this is another file";
    FIT_NO_IMAGES      "FIT002" Error   "there is no node /images, or it is empty" => "this is a device tree, no FIT; write the u-boot.itb or uboot.img of the board";
    FIT_NO_CONFIGS     "FIT003" Error   "there is no node /configurations, or it is empty" => "the SPL does not know what to start; build the FIT again with a node /configurations";
    FIT_DEFAULT        "FIT004" Error   "the default names a configuration that does not exist" => "the SPL takes another configuration or stops; build the FIT again with a default that exists";
    FIT_DANGLING       "FIT005" Error   "a configuration names an image that does not exist" => "the SPL stops where it misses the image; take another release of the file or correct the name";
    FIT_BEYOND_END     "FIT006" Error   "the data of an image ends behind the end of the file" => "the download broke off; fetch the file again";
    FIT_OVERLAP        "FIT007" Error   "the data of two images, or of an image and the tree, share bytes" => "one of them is not what was packed; build or fetch the file again";
    FIT_HASH           "FIT008" Error   "a hash of an image does not match: the SPL refuses it" => "the file is damaged; fetch it again";
    FIT_NO_HASH        "FIT009" Info    "an image has no hash: the SPL starts it unseen" => "nothing; SPLs built without FIT signatures do not look at hashes";
    FIT_ALGORITHM      "FIT010" Info    "a hash that is not checked because its algorithm is not known here" => "nothing; compare the digest of the file with that of its source";
    FIT_DIGEST         "FIT011" Info    "a digest of the uncompressed data, which is not checked" => "nothing; the hash of the compressed data protects it as well";
    FIT_SIGNATURE      "FIT012" Info    "a signature, which is not checked" => "nothing, unless the board has secure boot: then only a FIT signed with its key starts";
    FIT_DUPLICATE      "FIT013" Error   "two images or two configurations have the same name" => "boot loaders take the first; rename one and build the FIT again";
    FIT_NO_DATA        "FIT014" Error   "an image has no data" => "build the FIT again with the file that belongs there";
    FIT_BASE           "FIT015" Warning "the external data starts where the rule for this kind of FIT does not say" => "check with the SPL that is to read it: mainline rounds the tree up to 4 bytes, the vendor to 512";
    FIT_SIZE           "FIT016" Warning "the property totalsize does not agree with the data" => "the vendor reads that many bytes; build the FIT again, or fetch it again if it is cut";
    FIT_LIMIT          "FIT017" Warning "more nodes than are read" => "no SPL needs that many; the file is damaged or made to harm";
    FIT_PROPERTY       "FIT018" Error   "a property that places data or a hash is malformed" => "build the FIT again: data-offset, data-size and data-position are one word each";
    FIT_NO_DEFAULT     "FIT019" Warning "there is no default configuration" => "the SPL takes the first configuration; set a default to be sure";
    FIT_NOTHING_TO_RUN "FIT020" Warning "a configuration names neither firmware, nor loadables, nor kernel" => "the SPL finds nothing to start in it; build the FIT again";
    FIT_NOT_A_DTB      "FIT021" Error   "an uncompressed image of type flat_dt is no device tree" => "the SPL or U-Boot stops without a device tree; put the DTB of the board in";
    FIT_UNCHECKED      "FIT022" Warning "a hash that is not checked because images share too much data" => "sound files do not share data; the file is damaged or made to harm";
    FIT_SEGMENTS       "FIT023" Info    "the firmware images are not the segments of the given ELF file" => "nothing if the FIT is meant to carry another TF-A; else build it again with this ELF file";
    FIT_COMPATIBLE     "FIT024" Warning "no device tree of the FIT is compatible with the board" => "take the board's own U-Boot; another board's may start and lack devices";

    // --- FIT building, digests of compressed data: FIT030..049
    ELF_NONE           "FIT030" Error   "the firmware is no little-endian ELF program"
        => "give the .elf file of TF-A or OP-TEE, not a .bin made of it, and not of another architecture";
    ELF_BEYOND_END     "FIT031" Error   "a segment of an ELF program ends behind the end of the file"
        => "the file is cut: fetch it again and compare its sha256";
    ELF_OVERLAP        "FIT032" Error   "two segments of an ELF program are loaded over each other"
        => "the file is damaged or was linked wrongly: fetch it again or build it anew";
    ELF_LIMIT          "FIT033" Warning "an ELF program has more program headers than are read"
        => "look at it with `readelf -l`; firmware has a handful of segments";
    FIT_DIGEST_WRONG   "FIT034" Error   "the digest of the uncompressed data of an image does not match"
        => "the image was packed from other data than its digest, or damaged: fetch the file again or pack it anew";
    FIT_UNPACK         "FIT035" Error   "the compressed data of an image cannot be unpacked: the SPL stops there"
        => "fetch the file again; if its hash is valid, `compression` names the wrong format and the FIT must be packed anew";
    FIT_UNPACK_LIMIT   "FIT036" Warning "the compressed data of an image unpacks to more than is looked at"
        => "no boot loader is that large: find out who made the file, and do not write it unseen";
    FIT_LINKED         "FIT037" Warning "U-Boot is loaded at another address than the one it was linked for"
        => "pack it with the load address of its CONFIG_TEXT_BASE (`rkboot build fit` reads it from u-boot-nodtb.bin)";
    FIT_LOADS          "FIT038" Warning "two images of a configuration are loaded over each other"
        => "pack the FIT anew with load addresses that leave room; compare with the defconfig of the board";

    FIT_TREE_SOC       "FIT040" Warning "a device tree that is built into a FIT is for another SoC"
        => "give the U-Boot device tree of the board's SoC, or correct --soc";
    FIT_BLOB_SOC       "FIT041" Warning "firmware that is built into a FIT was published for another SoC, or is another kind of file"
        => "give the BL31 and OP-TEE of the board's SoC: rkbin has them as rkXXXX_bl31_*.elf and rkXXXX_bl32_*.bin";
    FIT_OTHER_SOC      "FIT050" Error   "the FIT is for another SoC than the wanted one"
        => "take the u-boot.itb (or uboot.img) that was made for the board";

    BOT_UNKNOWN        "BOT001" Warning "the file is no boot file that is known here" => "a board starts from nothing else; check where the file comes from";
    BOT_NOT_RAW        "BOT002" Warning "the file is recognised, but a board does not start from it at this place" => "take the file that belongs at this place: idbloader.img, u-boot.itb or u-boot-rockchip.bin";
    BOT_COPY_DIFFERS   "BOT003" Warning "a copy of the FIT is not equal to the first" => "write one file made in one go; the SPL turns to the copy when the first is damaged";
    BOT_FOREIGN_DATA   "BOT004" Warning "data in the file that belongs to no known part" => "it would be written too; make sure that it belongs there";
    BOT_COPY_INSIDE    "BOT005" Error   "a copy of the FIT starts inside the data of the first" => "the copy has destroyed the end of the first; take a file that was packed with larger slots";
    BOT_COPIES         "BOT006" Info    "the file holds several copies" => "nothing; where space is short, the copies behind the first can be cut off (`trim-copies`)";
    BOT_PLACE          "BOT007" Info    "the FIT is not where SPLs look when the file is written at sector 64" => "nothing for SPI flash; for a card write idblock and FIT at sectors 64 and 16384";
    BOT_LEGACY         "BOT008" Info    "a legacy format that the vendor's miniloaders read and mainline U-Boot does not" => "keep it with the miniloader of the vendor; for mainline U-Boot take u-boot.itb";
    BOT_TWO_SOCS       "BOT030" Error   "idblock and FIT of one file are for different SoCs"
        => "take idblock and FIT of one board: build the file again from its own parts";

    // --- boot area of a whole disk, extract: BOT020..029
    BOT_NOTHING        "BOT020" Error   "the disk holds no boot file where BootROMs and SPLs look"
                                        => "take an image of a whole disk for a Rockchip board, or a dump of its SPI flash";
    BOT_UNREADABLE     "BOT021" Error   "the boot area cannot be read to its end"
                                        => "fetch the image again, or read the medium once more";
    BOT_LATER_COPY     "BOT022" Warning "the first idblock has been overwritten, and the BootROM starts from a copy"
                                        => "write the extracted idblock at sector 64";
    BOT_COPIES_DIFFER  "BOT023" Warning "copies of a boot file on the disk are not equal"
                                        => "look at the findings about copy 1; if it is damaged, take another image";
    BOT_TWO_STAGES     "BOT024" Warning "a second stage in a partition, and another one at sector 16384"
                                        => "find out which SPL is on the disk: the vendor's starts the one in the partition";
    BOT_REACHES        "BOT025" Warning "the second stage reaches into a partition"
                                        => "one of them is damaged; take the boot loader from another image";

    // --- loader files: LDR001..
    LDR_NO_LOADER      "LDR001" Error   "no loader file at the start of the data, or the header is cut" => "loader files are called MiniLoaderAll.bin or *_loader_*.bin; fetch the file again";
    LDR_RECORD_SIZE    "LDR002" Error   "the entries of a table have less than 57 bytes each" => "the header is damaged; fetch the file again";
    LDR_CRC            "LDR003" Error   "the checksum at the end is missing or not that of the file" => "the file is damaged and rkdeveloptool refuses it; fetch it again";
    LDR_BEYOND_END     "LDR004" Error   "the data of an entry ends behind the end of the file" => "the download broke off or the table is damaged; fetch the file again";
    LDR_TABLE          "LDR005" Error   "a table of entries ends behind the end of the file" => "the header is damaged or the file cut; fetch it again";
    LDR_OVERLAP        "LDR006" Error   "an entry shares bytes with another, or with header and tables" => "one of them is not what was packed; fetch the file again";
    LDR_TYPE           "LDR007" Warning "the type of an entry is unknown or not that of its table" => "host programs may not send it; fetch the file again";
    LDR_TRAILING       "LDR008" Error   "bytes follow the checksum" => "rkdeveloptool looks for the checksum in the last four bytes; cut the file behind it with truncate";
    LDR_NO_USB         "LDR009" Warning "there is no entry for request 471 or none for 472" => "take a complete loader file: `rkdeveloptool db` needs both";
    LDR_NO_FLASH       "LDR010" Warning "FlashData or FlashBoot is missing" => "`rkdeveloptool db` works with it, `ul` does not; for the card take idbloader.img";
    LDR_FLASH          "LDR011" Error   "the parts for the flash do not make up a sound idblock" => "the board would not start from what is written; fetch the file again";
    LDR_USB            "LDR012" Error   "UsbHead and what follows it do not make up a sound idblock" => "the BootROM refuses it over USB; fetch the file again";
    LDR_SCRAMBLING     "LDR013" Info    "an entry is stored in another coding than usual in such files" => "it is read as it is stored; if a tool fails on it, take a file made by boot_merger";
    LDR_FOREIGN_DATA   "LDR014" Warning "data between the entries that belongs to none" => "no program reads it; if you did not put it there, fetch the file again";
    LDR_TIME           "LDR015" Warning "the build time is impossible" => "no program reads it; look at the checksum to know whether the header is damaged";
    LDR_SIGNED         "LDR016" Info    "the file is signed; the signature is not checked" => "nothing, unless the board has secure boot: then only the vendor's own file starts it";
    LDR_FOREIGN_BLOB   "LDR018" Error   "the file is for one chip, and a blob inside was published for another" => "the board does not start from it; take the loader file of this board";
    LDR_CHIP           "LDR017" Info    "the chip is not in the table of SoCs" => "check that the file is for your board: the host sends it to any";

    LDR_OTHER_SOC      "LDR020" Error   "the loader file is for another SoC than the wanted one" => "take the loader file that was made for the board's SoC";

    // --- LOADER and BL3X images, Android tables, parameter files: LEG001..
    LEG_NO_IMAGE       "LEG001" Error   "no LOADER or TOS image at the start of the data, or the header is cut" => "fetch the file again";
    LEG_BEYOND_END     "LEG002" Error   "the data of the image ends behind the end of the file" => "the download broke off; fetch the file again";
    LEG_CRC            "LEG003" Error   "the checksum is not that of the data" => "the miniloader refuses this copy; fetch the file again";
    LEG_HASH           "LEG004" Error   "the hash is not that of data and header" => "the miniloader refuses this copy; fetch the file again";
    LEG_HASH_LENGTH    "LEG005" Error   "the length of the hash is none of 32, 20, 0" => "the header is damaged; fetch the file again";
    LEG_NO_HASH        "LEG006" Info    "the image has no hash" => "nothing: a checksum protects it";
    LEG_JS_HASH        "LEG007" Warning "the 32-bit hash of the oldest loaders is not that of the data" => "if checksum and hash are right, the field alone is damaged; fetch the file again";
    LEG_SIGNED         "LEG008" Info    "the image is signed; the signature is not checked" => "nothing, unless the board has secure boot";
    LEG_COPY_DIFFERS   "LEG009" Warning "a copy of the image is not equal to the first" => "write one file made in one go";
    LEG_UNALIGNED      "LEG010" Warning "the size of the data is no multiple of 4" => "pack it again; packers round up";
    LEG_EMPTY          "LEG011" Error   "the image holds no data" => "pack it again, with the file that belongs in it";
    LEG_FOREIGN_DATA   "LEG012" Warning "data in the file that belongs to no copy of the image" => "it would be written too; make sure that it belongs there";
    LEG_NO_TRUST       "LEG020" Error   "no BL3X image at the start of the data, or the header is cut" => "fetch the file again";
    LEG_COMPONENTS     "LEG021" Error   "the header claims no component or more than 15" => "the header is damaged; fetch the file again";
    LEG_SIGN_OFFSET    "LEG022" Error   "the signature is not behind the data of the components" => "the header is damaged; fetch the file again";
    LEG_COMPONENT_END  "LEG023" Error   "a component or its record ends behind the end of the file" => "the download broke off; fetch the file again";
    LEG_COMPONENT_OVERLAP "LEG024" Error "a component shares bytes with another or with the header" => "one of them is not what was packed; fetch the file again";
    LEG_COMPONENT_HASH "LEG025" Error   "the hash of a component is not that of its bytes" => "the miniloader refuses this copy; fetch the file again";
    LEG_TRUST_NO_HASH  "LEG026" Info    "the components have no hash that is known here" => "nothing; compare the file's digest with that of its source";
    LEG_TRUST_SIGNED   "LEG027" Info    "the image is signed; the signature is not checked" => "nothing, unless the board has secure boot";
    LEG_TRUST_COPY     "LEG028" Warning "a copy of the trust image is not equal to the first" => "write one file made in one go";
    LEG_COMPONENT_ID   "LEG029" Warning "a component is called neither BL30 nor BL31, BL32, BL33" => "the miniloader does not know what to do with it; fetch the file again";
    LEG_LOAD_SIZE      "LEG030" Warning "a component has another size than what is to be loaded" => "pack the file again: what runs would be cut or followed by other data";
    LEG_TRUST_FOREIGN  "LEG031" Warning "data in the file that belongs to no component" => "it would be written too; make sure that it belongs there";
    LEG_NO_TABLE       "LEG040" Error   "no table of device trees at the start of the data, or the header is cut" => "fetch the file again";
    LEG_TABLE_SIZE     "LEG041" Error   "the table claims more bytes than the file has" => "the download broke off; fetch the file again";
    LEG_TABLE_TRAILING "LEG042" Warning "data behind the end of the table" => "boot loaders do not read it, unless it is a signature of Android (AVB)";
    LEG_TABLE_FORM     "LEG043" Error   "sizes of header or entries, or a version, that are not known" => "boot loaders cannot read the table; make it again";
    LEG_TABLE_EMPTY    "LEG044" Warning "the table holds no device tree" => "nothing is applied; leave the file out or put overlays in it";
    LEG_TABLE_LIMIT    "LEG045" Warning "more entries than are read" => "the header is damaged, or this is another use of the format than any known here";
    LEG_TABLE_ENTRIES  "LEG046" Error   "an entry is behind the end of the file" => "the file is cut or its header damaged; fetch it again";
    LEG_TABLE_BEYOND_END "LEG047" Error "a tree ends behind the end of the table" => "the file is cut or damaged; fetch it again";
    LEG_TABLE_OVERLAP  "LEG048" Error   "two trees, or a tree and the table, share bytes without being the same" => "the file is damaged; make it again";
    LEG_TABLE_UNCHECKED "LEG049" Info   "a tree that is not checked because it is compressed or shared too often" => "unpack it and look at it with `dtbtool check`";
    LEG_NO_PARAMETER   "LEG060" Error   "no parameter file: no text with CMDLINE" => "take the parameter.txt of the vendor's package";
    LEG_NO_PARTITIONS  "LEG061" Error   "CMDLINE holds no partition" => "write mtdparts=DEVICE:SIZE@START(NAME),…";
    LEG_PARTITION_SYNTAX "LEG062" Error "a partition that cannot be read" => "write SIZE@START(NAME) in sectors of 512 bytes; a template has to go through the vendor's script first";
    LEG_PARTITION_OVERLAP "LEG063" Error "two partitions share sectors" => "let one start behind the other, or make the other smaller";
    LEG_PARTITION_BOOT "LEG064" Warning "a partition lies where the board expects partition table, idblocks or U-Boot" => "let it start at sector 0x8000 or later";
    LEG_PARAMETER_KEY  "LEG065" Info    "a key that is not known here" => "nothing; the vendor's tools may know it";
    LEG_PARAMETER_LINE "LEG066" Warning "a line without a key" => "write KEY: value, or # in front of a remark";
    LEG_PARTITION_NAME "LEG067" Warning "two partitions have the same name" => "boot loaders take the first; give each its own";
    LEG_PARAMETER_UUID "LEG068" Warning "a uuid for a partition that is not there" => "write uuid:NAME=GUID with a name that CMDLINE has";
    LEG_PARTITION_LIMIT "LEG069" Warning "more partitions than are read" => "a GPT of the vendor's tool holds 128; leave out the rest";

    // --- boot flow: FLW001..
    FLW_NO_WAY         "FLW001" Error   "the second stage starts none of what the image carries"
                                        => "take a mainline U-Boot or EDK2 for an image that starts by EFI; the vendor's U-Boot 2017.09 is built without it";
    FLW_VARIABLES      "FLW002" Warning "the boot loader needs EFI variables that do not outlive a restart"
                                        => "take a boot loader that keeps its choice in a file (GRUB), or a firmware with a variable store";
    FLW_TREE_NAME      "FLW003" Warning "the image carries no device tree under the name that U-Boot asks for"
                                        => "name the tree as U-Boot asks for it, or use the U-Boot of this board";
    FLW_TREE_SIZE      "FLW004" Error   "a device tree is larger than U-Boot loads"
                                        => "leave out what the board does not need";
    FLW_UNKNOWN        "FLW005" Warning "the second stage is no U-Boot or UEFI firmware that is known here"
                                        => "look at the serial console, or take a second stage whose version text can be read";
    FLW_MEDIA          "FLW006" Info    "which media come before this one"
                                        => "erase or update the boot loader on the medium that comes first";
    FLW_OTHER_BOARD    "FLW007" Warning "U-Boot's built-in device tree is another board's than the image's"
                                        => "use the U-Boot of this board, or see that its name for the tree is carried";
    FLW_OTHER_SOC      "FLW008" Error   "U-Boot is built for another SoC than the image's device tree"
                                        => "one of them is another board's file; take both for the same board";
    FLW_RANDOM_MAC     "FLW009" Info    "nothing shows that U-Boot derives a stable Ethernet address from the chip"
                                        => "set local-mac-address in the device tree or the address in the network configuration";
    FLW_COMPRESSED     "FLW010" Info    "the second stage is compressed in a way that is not unpacked here"
                                        => "unpack the image and look at the result";
    FLW_RUNTIME_NAME   "FLW011" Info    "U-Boot chooses the name of the device tree at run time"
                                        => "carry the tree under every name that the board's variants ask for";
    FLW_SEVERAL_WAYS   "FLW012" Warning "the image carries several ways to start, and the first one found wins"
                                        => "leave one way to start on the boot partition";
    FLW_HYBRID         "FLW013" Info    "the vendor's SPL in front of a mainline FIT"
                                        => "give no partition the name uboot: this SPL looks there first";
    FLW_HYBRID_BASE    "FLW014" Error   "the vendor's SPL looks for the data of this mainline FIT at another place"
                                        => "pack the FIT with binman, which pads the tree to 512 bytes";
    FLW_STAGES         "FLW015" Error   "the first stage cannot read the format of the second"
                                        => "take both stages from one build";
    FLW_MIXED          "FLW016" Warning "a mainline SPL in front of the vendor's U-Boot"
                                        => "take both stages from one build";
    FLW_NO_SECOND      "FLW017" Error   "there is no second stage that could start what the image carries"
                                        => "add the second stage to the boot files: u-boot.itb or uboot.img, at sector 16384";
    FLW_STAGE_SOCS     "FLW018" Error   "the first and the second stage are for different SoCs"
                                        => "one of them is another board's file; take both stages for the same board";

    // --- the program: RKB001..; usage, missing files and failed reading have the codes of the whole project
    RKB_REFUSED        "RKB001" Error   "a command was refused, and nothing was written"
                                        => "the message says what was found and what was expected; give other parts or options";
    RKB_TRIMMED        "RKB002" Info    "only a part of a given file was used: its first copy, without padding"
                                        => "nothing; give the part alone if that is not what was meant";
}

/// Only the program makes these.
const _: [&str; 2] = [RKB_REFUSED, RKB_TRIMMED];
