//! Every code that this crate's findings carry.

use imgcore::Severity;

use crate::{check, error::ErrorKind};

/// Code, level and meaning of every finding of this crate. Codes are never reused.
///
/// DTB001 to DTB049 are about what a reader can follow: [`Fdt::parse`](crate::Fdt::parse) refuses a tree exactly when
/// [`scan`](crate::scan) has an error among them. DTB050 to DTB079 are about the contents of a readable tree, DTB080
/// to DTB099 and DTB200 to DTB219 about what a board expects of its tree, DTB220 to DTB239 about overlays and edits.
/// DTB100 to DTB188 are the checks of dtc, listed in [`CHECKS`](crate::check::CHECKS).
pub const RULES: &[Rule] = &join::<Rule, { OWN.len() + check::CHECKS.len() }>(OWN, LOW, &check::rule_rows());

type Rule = (&'static str, Severity, &'static str);
type Cure = (&'static str, &'static str);

/// Rows of this file and of dtc's checks in one table, by code: the checks' begin with DTB100.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler")]
const fn join<T: Copy, const N: usize>(own: &[T], low: usize, checks: &[T]) -> [T; N] {
    let mut all = [checks[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < low {
            own[at]
        } else if at < low + checks.len() {
            checks[at - low]
        } else {
            own[at - checks.len()]
        };
        at += 1;
    }
    all
}

/// How many rows have a code below DTB100.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler")]
const LOW: usize = {
    let mut low = 0;
    while low < OWN.len() && OWN[low].0.as_bytes()[3] == b'0' {
        low += 1;
    }
    low
};

const OWN: &[Rule] = &[
    (SHORT, Severity::Error, "the data ends inside the header"),
    (MAGIC, Severity::Error, "the first word is not 0xd00dfeed: not a device tree"),
    (UNFINISHED, Severity::Error, "the magic number is inverted: the program that made the tree never finished it"),
    (TOTALSIZE, Severity::Error, "the total size is less than the header or more than the file"),
    (
        VERSION,
        Severity::Error,
        "a format version that readers do not know, or version fields that contradict each other",
    ),
    (
        MISALIGNED,
        Severity::Error,
        "reservation block not at a multiple of 8, or structure block not at a multiple of 4",
    ),
    (OUTSIDE, Severity::Error, "a block lies in the header or beyond the total size"),
    (OVERLAP, Severity::Error, "two blocks share bytes"),
    (NEWER, Severity::Info, "a version after 17 that says it can be read as 17"),
    (
        ORDER,
        Severity::Warning,
        "blocks are not in the order reservations, structure, strings; programs that edit trees refuse that",
    ),
    (TRAILING, Severity::Info, "bytes follow the total size"),
    (SIZE_LINUX, Severity::Warning, "more than 2 MiB: Linux on arm64 does not take a tree of this size at boot"),
    (SIZE_UBOOT, Severity::Warning, "more than 4 MiB: U-Boot does not pass a tree of this size to an EFI program"),
    (BOOT_CPU, Severity::Info, "the header's boot processor is none of /cpus"),
    (RSV_END, Severity::Error, "the memory reservation block has no end inside the tree"),
    (RSV_OVERLAP, Severity::Warning, "two memory reservations share addresses"),
    (
        RSV_ADDRESS,
        Severity::Warning,
        "a memory reservation beyond any address that the board has: often a leaked pointer of the build machine",
    ),
    (TOKEN, Severity::Error, "a word that is no token stands where a token must be"),
    (TOKEN_CUT, Severity::Error, "the structure block ends inside a token"),
    (NAME_END, Severity::Error, "a node name has no end"),
    (NAME_TEXT, Severity::Error, "a name is not text"),
    (PROPERTY_CUT, Severity::Error, "a property is longer than the structure block"),
    (
        PROPERTY_NAME,
        Severity::Error,
        "a property's name is outside the strings block, has no end in it, or is longer than 1024 bytes",
    ),
    (PROPERTY_ORDER, Severity::Error, "a property stands behind a subnode, where readers do not look"),
    (PROPERTY_OUTSIDE, Severity::Error, "a property stands outside every node"),
    (NO_ROOT, Severity::Error, "there is no root node"),
    (SECOND_ROOT, Severity::Error, "there is a second root node"),
    (ROOT_NAMED, Severity::Error, "the root node has a name"),
    (END_NODE, Severity::Error, "a node ends that never began"),
    (END_INSIDE, Severity::Error, "the tree ends while nodes are open"),
    (NO_END, Severity::Error, "the structure block has no end token"),
    (DEPTH, Severity::Error, "nodes are nested deeper than 64 levels"),
    (PADDING, Severity::Warning, "padding is not zero"),
    (BEHIND_END, Severity::Warning, "the structure block goes on behind its end token"),
    (
        NODE_EMPTY,
        Severity::Warning,
        "a node below the root has no name in front of its unit address; dtc refuses such nodes, U-Boot's own trees have them as templates and work",
    ),
    (NODE_CHARS, Severity::Error, "a node name has characters that the specification does not allow"),
    (NODE_FORMAT, Severity::Error, "a node name has more than one @"),
    (
        PROPERTY_CHARS,
        Severity::Error,
        "a property name is empty or has characters that the specification does not allow",
    ),
    (NAME_LONG, Severity::Info, "names longer than the specification's 31 characters, which no reader enforces"),
    (PHANDLE_SHAPE, Severity::Error, "a phandle is not one cell"),
    (PHANDLE_VALUE, Severity::Error, "a phandle is 0 or 0xffffffff, which name no node"),
    (PHANDLE_TWICE, Severity::Error, "two nodes have the same phandle"),
    (PHANDLE_DIFFERS, Severity::Error, "phandle and linux,phandle of a node differ"),
    (PHANDLE_DANGLING, Severity::Warning, "a property names a node by a phandle that no node has"),
    (COMPATIBLE, Severity::Error, "the tree is of another board"),
    (MISSING, Severity::Error, "the tree has no device of a kind that the board needs"),
    (DISABLED, Severity::Error, "a device that the board needs is switched off in the tree"),
    (UNKNOWN_WORD, Severity::Error, "a device kind that is not in the vocabulary"),
    (
        SIBLING_DISABLED,
        Severity::Warning,
        "the board has a device of the needed kind, but another one that is wired up is switched off",
    ),
    (
        BEHIND_PCIE,
        Severity::Info,
        "the network chip has no node of its own; it can only be behind a PCIe host that is on",
    ),
    (
        FILE_NAME,
        Severity::Warning,
        "the file's name does not go with the board that the tree describes; U-Boot asks for a tree by name",
    ),
    (FILE_SOC, Severity::Error, "the file's name is of another chip than the tree"),
    (BOARD_SIZE, Severity::Error, "the tree is too large for the kernel to take"),
    // --- board profile: DTB089..099
    (NO_STDOUT, Severity::Warning, "the tree does not say which port is the console"),
    (STDOUT_NOWHERE, Severity::Error, "/chosen stdout-path names no node"),
    (STDOUT_OFF, Severity::Error, "/chosen stdout-path names a port that is off"),
    (STDOUT_OTHER, Severity::Warning, "/chosen stdout-path is not what the board expects, or no serial port"),
    (CHOSEN_ROOT, Severity::Warning, "/chosen holds another system's kernel arguments"),
    (CHOSEN_LEFT, Severity::Warning, "/chosen holds what one boot or the maker's boot program put there"),
    (STATUS, Severity::Warning, "a status that is none of okay, ok, disabled, reserved, fail, fail-…"),
    (PHY, Severity::Error, "a network port is on, but its phy-handle leads nowhere or to a node that is off"),
    (NO_SYMBOLS, Severity::Error, "overlays are planned, but the tree has no /__symbols__"),
    (BOOT_MEMORY, Severity::Error, "reserved memory overlaps addresses that are in use while the board boots"),
    (MEMORY, Severity::Info, "the tree says how much memory there is"),
    (ONE_CELL, Severity::Error, "a property on which other checks rely is not one cell: dtc ends itself there"),
    (
        REFERENCE_TABLES,
        Severity::Warning,
        "`__symbols__`, `__fixups__` or `__local_fixups__` name a node or property that is not there",
    ),
    (OMITTED, Severity::Warning, "more checks fail than are listed"),
    // --- console, binding, board profile: DTB200..219
    (
        CONSOLE_ALIAS,
        Severity::Warning,
        "a console of the kernel's arguments has no alias in the tree, or one that leads nowhere",
    ),
    (
        CONSOLE_OFF,
        Severity::Warning,
        "a console of the kernel's arguments is a port that is off: it gives nothing with this tree",
    ),
    (CONSOLE_BAUD, Severity::Warning, "a console's baud rate is not the one that the tree names"),
    (CONSOLE_FIQ_NODE, Severity::Error, "ttyFIQ0 is a console, but the tree has no fiq-debugger that is on"),
    (CONSOLE_FIQ_KERNEL, Severity::Error, "ttyFIQ0 is a console, but the kernel is mainline's, which has none"),
    (CONSOLE_NONE, Severity::Error, "no serial console of the kernel's arguments gives anything with this tree"),
    (CONSOLE_FIQ_MAYBE, Severity::Info, "ttyFIQ0 is a console, which only vendor kernels have"),
    (CONSOLE_BARE, Severity::Warning, "a kernel argument looks like a console without console="),
    (
        EARLYCON,
        Severity::Warning,
        "earlycon names an address where the tree has no serial port, or no address and the tree no console",
    ),
    (BOARD_SIZE_EFI, Severity::Error, "the tree is too large for U-Boot to pass on to an EFI program"),
    (
        BINDING,
        Severity::Error,
        "the tree is for the other generation of kernels: clocks and resets are numbered differently",
    ),
    (
        BINDING_UNKNOWN,
        Severity::Info,
        "nothing tells for which generation of kernels the tree is, or the signs contradict each other",
    ),
    (NO_PMIC, Severity::Info, "the tree has no power controller that is known"),
    (NO_WATCHDOG, Severity::Info, "the tree has no watchdog that is on"),
    (NO_THERMAL, Severity::Info, "the tree has no temperature sensor that is on"),
    (REVISION, Severity::Warning, "the file's name is for another revision of the board than the tree"),
    (REVISION_SILENT, Severity::Info, "the file's name or the tree does not say for which revision of the board it is"),
    (REQUESTED, Severity::Error, "the file has another name than U-Boot asks for: U-Boot takes the tree inside itself"),
    (NO_MAC, Severity::Warning, "a network port has neither an address nor an alias by which U-Boot can give it one"),
    (OTHER_BOARD, Severity::Warning, "the tree inside the boot program and the kernel's tree are of different boards"),
    // --- overlays and edits: DTB220..239
    (OVERLAY_LABEL, Severity::Error, "an overlay needs a label that the base's /__symbols__ does not have"),
    (OVERLAY_NO_SYMBOLS, Severity::Error, "an overlay needs labels, but the base has no /__symbols__"),
    (
        OVERLAY_LABEL_NODE,
        Severity::Error,
        "the base's /__symbols__ has a label whose node is missing or has no phandle",
    ),
    (OVERLAY_PATH, Severity::Error, "an overlay changes a node that the base does not have"),
    (OVERLAY_TARGET, Severity::Error, "a fragment does not say which node it changes"),
    (OVERLAY_FIXUP, Severity::Error, "an entry of /__fixups__ is not path:property:offset"),
    (OVERLAY_LOCAL, Severity::Error, "/__local_fixups__ does not agree with the overlay"),
    (OVERLAY_NONE, Severity::Warning, "a tree given as overlay has no fragment: applying it changes nothing"),
    (OVERLAY_BOARD, Severity::Warning, "an overlay names other boards than the base is"),
    (OVERLAY_PHANDLES, Severity::Error, "the overlay's phandles cannot be moved behind the base's"),
    (OVERLAY_REFUSED, Severity::Error, "an overlay cannot be applied for another reason"),
    (EDIT_STILL_OFF, Severity::Warning, "an edit switches a node on, but a node around it is off"),
    (
        EDIT_MAC_LOSES,
        Severity::Warning,
        "a node with a local-mac-address has a mac-address too, which the kernel takes first",
    ),
    (EDIT_LEFT_BEHIND, Severity::Warning, "an edit deletes a node that aliases, labels or phandles still name"),
    (EDIT_NO_CHANGE, Severity::Info, "an edit changes nothing: the tree is so already"),
    // --- the program; usage, missing files and failed reading have the codes of the whole project
    (PROGRAM_REFUSED, Severity::Error, "a command cannot do what is asked of this tree, and nothing was written"),
];

/// What to do about a code.
pub const CURES: &[Cure] = &join::<Cure, { OWN_CURES.len() + check::CHECKS.len() }>(OWN_CURES, 0, &check::cure_rows());

const OWN_CURES: &[Cure] = &[
    (SHORT, "is this the right file? a device tree is what dtc or a kernel build makes, with the ending .dtb"),
    (MAGIC, "is this the right file? a device tree is what dtc or a kernel build makes, with the ending .dtb"),
    (UNFINISHED, "let the program that made the tree run to its end, or take another copy"),
    (TOTALSIZE, "the file was cut off on its way: fetch or copy it again"),
    (VERSION, "compile the source again with a dtc of this century; it writes version 17"),
    (MISALIGNED, "write the tree anew with dtc: `dtc -I dtb -O dtb`"),
    (OUTSIDE, "the file was cut off or damaged on its way: fetch or build it again"),
    (OVERLAP, "the file is damaged: fetch or build it again"),
    (NEWER, "nothing, as long as all that you need is shown"),
    (ORDER, "write the tree anew, with dtc or this crate's writer, before a program edits it"),
    (TRAILING, "nothing: in a FIT or a partition that is usual. Cut the file at the total size if a program minds"),
    (SIZE_LINUX, "no matter for a FIT; for a kernel, drop `__symbols__` or devices that the board does not have"),
    (SIZE_UBOOT, "no matter for a FIT; for EFI, drop `__symbols__` or devices that the board does not have"),
    (BOOT_CPU, "nothing on arm64: Linux does not use this field"),
    (RSV_END, "the file is damaged: fetch or build it again"),
    (RSV_OVERLAP, "join the two /memreserve/ entries into one"),
    (RSV_ADDRESS, "harmless to boot; ask the author to mend the build that leaked the address"),
    (TOKEN, "the file is damaged: fetch or build it again"),
    (TOKEN_CUT, "the file is damaged: fetch or build it again"),
    (NAME_END, "the file is damaged: fetch or build it again"),
    (NAME_TEXT, "the file is damaged: fetch or build it again"),
    (PROPERTY_CUT, "the file is damaged: fetch or build it again"),
    (PROPERTY_NAME, "the file is damaged: fetch or build it again"),
    (
        PROPERTY_ORDER,
        "move the property in front of the node's first subnode; dtc does so when it writes the tree anew",
    ),
    (PROPERTY_OUTSIDE, "the file is damaged: fetch or build it again"),
    (NO_ROOT, "the file is damaged: fetch or build it again"),
    (SECOND_ROOT, "the file is damaged: fetch or build it again"),
    (ROOT_NAMED, "the file is damaged: fetch or build it again"),
    (END_NODE, "the file is damaged: fetch or build it again"),
    (END_INSIDE, "the file is damaged: fetch or build it again"),
    (NO_END, "the file is damaged: fetch or build it again"),
    (DEPTH, "no real tree is nested like this: do not use the file"),
    (PADDING, "harmless; write the tree anew with dtc for bytes that can be compared"),
    (BEHIND_END, "harmless; write the tree anew with dtc to drop what no reader sees"),
    (NODE_EMPTY, "in a tree of U-Boot's own, nothing; in a board's tree, name the node"),
    (NODE_CHARS, "use letters, digits and , . _ + - in the name; else the file is damaged"),
    (NODE_FORMAT, "keep one @, in front of the unit address; else the file is damaged"),
    (PROPERTY_CHARS, "use letters, digits and , . _ + * # ? - in the name; else the file is damaged"),
    (NAME_LONG, "nothing: no reader enforces the limit"),
    (PHANDLE_SHAPE, "let dtc number the nodes: remove `phandle` from the source"),
    (PHANDLE_VALUE, "let dtc number the nodes: remove `phandle` from the source"),
    (PHANDLE_TWICE, "let dtc number the nodes: remove `phandle` from the source, or apply the overlay with fdtoverlay"),
    (PHANDLE_DIFFERS, "remove `linux,phandle`, which kernels since 2010 do not need"),
    (
        PHANDLE_DANGLING,
        "add the node that is meant, or remove the reference; an overlay must be applied to its base first",
    ),
    (COMPATIBLE, "take the tree of this board, or name the board that the tree is for"),
    (MISSING, "take a tree that describes the device, or drop it from what the board requires"),
    (DISABLED, "set `status = \"okay\"` in the node, or drop it from what the board requires"),
    (UNKNOWN_WORD, "use a word of the vocabulary (`dtbtool check --help` lists it) or the path of a node"),
    (SIBLING_DISABLED, "see which of the two the board has wired up, and switch that one on"),
    (BEHIND_PCIE, "nothing, if the PCIe host of the network chip is on"),
    (FILE_NAME, "give the file the name under which U-Boot asks for it (`fdtfile`), or take the tree of this board"),
    (FILE_SOC, "take the tree of this board's chip"),
    (BOARD_SIZE, "drop `__symbols__` or devices that the board does not have"),
    (ONE_CELL, "write the property as one number, such as <1>"),
    (REFERENCE_TABLES, "compile the source again with `dtc -@`; tables that were edited by hand go out of step"),
    (OMITTED, "no real tree fails so often: the file is damaged or hostile, do not use it"),
    // --- board profile: DTB089..099
    (NO_STDOUT, "give the kernel console=, or set /chosen stdout-path"),
    (STDOUT_NOWHERE, "name a serial port by its alias or path, such as serial2:1500000n8"),
    (STDOUT_OFF, "switch the port on, or name another one"),
    (STDOUT_OTHER, "set /chosen stdout-path to the expected alias and rate"),
    (CHOSEN_ROOT, "delete them: a boot program may add them to the kernel's arguments"),
    (CHOSEN_LEFT, "delete it, and use the tree as it was built"),
    (STATUS, "write okay or disabled"),
    (PHY, "point it at the ethernet-phy node below the port's mdio node"),
    (NO_SYMBOLS, "rebuild the tree with dtc -@, or use overlays with target-path"),
    (BOOT_MEMORY, "move one of them"),
    (MEMORY, "no matter where the boot program fills it in, as U-Boot does"),
    // --- console, binding, board profile: DTB200..219
    (CONSOLE_ALIAS, "use a port that has an alias serialN"),
    (CONSOLE_OFF, "use a port that is on, or switch it on; where fiq-debugger owns it, ttyFIQ0 and a vendor kernel"),
    (CONSOLE_BAUD, "write the tree's rate"),
    (CONSOLE_FIQ_NODE, "use ttySN with this tree"),
    (CONSOLE_FIQ_KERNEL, "use ttySN, and a tree in which that port is on"),
    (CONSOLE_NONE, "use the console that the tree names"),
    (CONSOLE_FIQ_MAYBE, "with a mainline kernel use ttySN"),
    (CONSOLE_BARE, "write console= in front of it"),
    (EARLYCON, "name the address of a port of the tree"),
    (BOARD_SIZE_EFI, "leave out what the board does not need"),
    (BINDING, "use the tree from the kernel's own sources"),
    (BINDING_UNKNOWN, "use the tree from the kernel's own sources"),
    (NO_PMIC, "use a tree that describes it, if the board has one"),
    (NO_WATCHDOG, "switch it on, or use a newer tree"),
    (NO_THERMAL, "switch it on, or use a newer tree"),
    (REVISION, "use the tree of the board's own revision"),
    (REVISION_SILENT, "check the revision that is printed on the board"),
    (REQUESTED, "give the file the name that U-Boot asks for"),
    (NO_MAC, "add an alias ethernet0, or set local-mac-address"),
    (OTHER_BOARD, "use boot program and tree of one board; one board under two spellings is no matter"),
    // --- overlays and edits: DTB220..239
    (OVERLAY_LABEL, "use a base that has the label, or write the overlay with target-path"),
    (
        OVERLAY_NO_SYMBOLS,
        "rebuild the base with dtc -@ (in a kernel tree: make DTC_FLAGS=-@), or write the overlay with target-path",
    ),
    (OVERLAY_LABEL_NODE, "rebuild the base with dtc -@"),
    (OVERLAY_PATH, "check the path against the base (dtbtool dts), or use the right base"),
    (OVERLAY_TARGET, "give it target = <&label> or target-path = \"/path\""),
    (OVERLAY_FIXUP, "compile the overlay anew with dtc -@"),
    (OVERLAY_LOCAL, "compile the overlay anew with dtc -@"),
    (OVERLAY_NONE, "give the .dtbo, compiled from source that begins with /plugin/"),
    (OVERLAY_BOARD, "use the overlay made for this board, or check that it fits"),
    (OVERLAY_PHANDLES, "rebuild base and overlay: phandles near 0xffffffff are not from dtc"),
    (OVERLAY_REFUSED, "the message says which; compile the overlay anew with dtc -@"),
    (EDIT_STILL_OFF, "enable the node around it as well"),
    (EDIT_MAC_LOSES, "delete mac-address from the node"),
    (EDIT_LEFT_BEHIND, "delete the aliases and references as well"),
    (EDIT_NO_CHANGE, "drop the edit"),
    (PROGRAM_REFUSED, "the message says why; `dtbtool check FILE` shows what is wrong with a tree"),
];

pub(crate) const SHORT: &str = "DTB001";
pub(crate) const MAGIC: &str = "DTB002";
pub(crate) const UNFINISHED: &str = "DTB003";
pub(crate) const TOTALSIZE: &str = "DTB004";
pub(crate) const VERSION: &str = "DTB005";
pub(crate) const MISALIGNED: &str = "DTB006";
pub(crate) const OUTSIDE: &str = "DTB007";
pub(crate) const OVERLAP: &str = "DTB008";
pub(crate) const NEWER: &str = "DTB009";
pub(crate) const ORDER: &str = "DTB010";
pub(crate) const TRAILING: &str = "DTB011";
pub(crate) const SIZE_LINUX: &str = "DTB012";
pub(crate) const SIZE_UBOOT: &str = "DTB013";
pub(crate) const BOOT_CPU: &str = "DTB014";
pub(crate) const RSV_END: &str = "DTB020";
pub(crate) const RSV_OVERLAP: &str = "DTB021";
pub(crate) const RSV_ADDRESS: &str = "DTB022";
pub(crate) const TOKEN: &str = "DTB030";
pub(crate) const TOKEN_CUT: &str = "DTB031";
pub(crate) const NAME_END: &str = "DTB032";
pub(crate) const NAME_TEXT: &str = "DTB033";
pub(crate) const PROPERTY_CUT: &str = "DTB034";
pub(crate) const PROPERTY_NAME: &str = "DTB035";
pub(crate) const PROPERTY_ORDER: &str = "DTB036";
pub(crate) const PROPERTY_OUTSIDE: &str = "DTB037";
pub(crate) const NO_ROOT: &str = "DTB038";
pub(crate) const SECOND_ROOT: &str = "DTB039";
pub(crate) const ROOT_NAMED: &str = "DTB040";
pub(crate) const END_NODE: &str = "DTB041";
pub(crate) const END_INSIDE: &str = "DTB042";
pub(crate) const NO_END: &str = "DTB043";
pub(crate) const DEPTH: &str = "DTB044";
pub(crate) const PADDING: &str = "DTB045";
pub(crate) const BEHIND_END: &str = "DTB046";
pub(crate) const NODE_EMPTY: &str = "DTB050";
pub(crate) const NODE_CHARS: &str = "DTB051";
pub(crate) const NODE_FORMAT: &str = "DTB052";
pub(crate) const PROPERTY_CHARS: &str = "DTB053";
pub(crate) const NAME_LONG: &str = "DTB054";
pub(crate) const PHANDLE_SHAPE: &str = "DTB060";
pub(crate) const PHANDLE_VALUE: &str = "DTB061";
pub(crate) const PHANDLE_TWICE: &str = "DTB062";
pub(crate) const PHANDLE_DIFFERS: &str = "DTB063";
pub(crate) const PHANDLE_DANGLING: &str = "DTB064";
pub(crate) const COMPATIBLE: &str = "DTB080";
pub(crate) const MISSING: &str = "DTB081";
pub(crate) const DISABLED: &str = "DTB082";
pub(crate) const UNKNOWN_WORD: &str = "DTB083";
pub(crate) const SIBLING_DISABLED: &str = "DTB084";
pub(crate) const BEHIND_PCIE: &str = "DTB085";
pub(crate) const FILE_NAME: &str = "DTB086";
pub(crate) const FILE_SOC: &str = "DTB087";
pub(crate) const BOARD_SIZE: &str = "DTB088";
pub(crate) const ONE_CELL: &str = "DTB189";
pub(crate) const REFERENCE_TABLES: &str = "DTB190";
pub(crate) const OMITTED: &str = "DTB191";
pub(crate) const OVERLAY_LABEL: &str = "DTB220";
pub(crate) const OVERLAY_NO_SYMBOLS: &str = "DTB221";
pub(crate) const OVERLAY_LABEL_NODE: &str = "DTB222";
pub(crate) const OVERLAY_PATH: &str = "DTB223";
pub(crate) const OVERLAY_TARGET: &str = "DTB224";
pub(crate) const OVERLAY_FIXUP: &str = "DTB225";
pub(crate) const OVERLAY_LOCAL: &str = "DTB226";
pub(crate) const OVERLAY_NONE: &str = "DTB227";
pub(crate) const OVERLAY_BOARD: &str = "DTB228";
pub(crate) const OVERLAY_PHANDLES: &str = "DTB229";
pub(crate) const OVERLAY_REFUSED: &str = "DTB230";
pub(crate) const EDIT_STILL_OFF: &str = "DTB231";
pub(crate) const EDIT_MAC_LOSES: &str = "DTB232";
pub(crate) const EDIT_LEFT_BEHIND: &str = "DTB233";
pub(crate) const EDIT_NO_CHANGE: &str = "DTB234";
pub(crate) const PROGRAM_REFUSED: &str = "DTB239";
pub(crate) const NO_STDOUT: &str = "DTB089";
pub(crate) const STDOUT_NOWHERE: &str = "DTB090";
pub(crate) const STDOUT_OFF: &str = "DTB091";
pub(crate) const STDOUT_OTHER: &str = "DTB092";
pub(crate) const CHOSEN_ROOT: &str = "DTB093";
pub(crate) const CHOSEN_LEFT: &str = "DTB094";
pub(crate) const STATUS: &str = "DTB095";
pub(crate) const PHY: &str = "DTB096";
pub(crate) const NO_SYMBOLS: &str = "DTB097";
pub(crate) const BOOT_MEMORY: &str = "DTB098";
pub(crate) const MEMORY: &str = "DTB099";
pub(crate) const CONSOLE_ALIAS: &str = "DTB200";
pub(crate) const CONSOLE_OFF: &str = "DTB201";
pub(crate) const CONSOLE_BAUD: &str = "DTB202";
pub(crate) const CONSOLE_FIQ_NODE: &str = "DTB203";
pub(crate) const CONSOLE_FIQ_KERNEL: &str = "DTB204";
pub(crate) const CONSOLE_NONE: &str = "DTB205";
pub(crate) const CONSOLE_FIQ_MAYBE: &str = "DTB206";
pub(crate) const CONSOLE_BARE: &str = "DTB207";
pub(crate) const EARLYCON: &str = "DTB208";
pub(crate) const BOARD_SIZE_EFI: &str = "DTB209";
pub(crate) const BINDING: &str = "DTB210";
pub(crate) const BINDING_UNKNOWN: &str = "DTB211";
pub(crate) const NO_PMIC: &str = "DTB212";
pub(crate) const NO_WATCHDOG: &str = "DTB213";
pub(crate) const NO_THERMAL: &str = "DTB214";
pub(crate) const REVISION: &str = "DTB215";
pub(crate) const REVISION_SILENT: &str = "DTB216";
pub(crate) const REQUESTED: &str = "DTB217";
pub(crate) const NO_MAC: &str = "DTB218";
pub(crate) const OTHER_BOARD: &str = "DTB219";

/// The level of a code of [`RULES`].
pub(crate) fn severity(code: &str) -> Severity {
    RULES.iter().find(|(listed, ..)| *listed == code).map_or(Severity::Error, |(_, severity, _)| *severity)
}

impl ErrorKind {
    /// The code under which [`scan`](crate::scan) reports this fault; none for a tree that was never bytes.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Short { .. } => SHORT,
            Self::Magic { .. } => MAGIC,
            Self::Unfinished => UNFINISHED,
            Self::TotalSizeSmall { .. } | Self::TotalSizeLarge { .. } => TOTALSIZE,
            Self::Version { .. } => VERSION,
            Self::Misaligned { .. } => MISALIGNED,
            Self::Outside { .. } => OUTSIDE,
            Self::Overlap { .. } => OVERLAP,
            Self::ReservationsUnterminated { .. } => RSV_END,
            Self::Token { .. } => TOKEN,
            Self::TokenCut { .. } => TOKEN_CUT,
            Self::NodeNameUnterminated { .. } => NAME_END,
            Self::NameNotText { .. } => NAME_TEXT,
            Self::PropertyCut { .. } => PROPERTY_CUT,
            Self::PropertyName { .. } => PROPERTY_NAME,
            Self::PropertyAfterNode { .. } => PROPERTY_ORDER,
            Self::PropertyOutside { .. } => PROPERTY_OUTSIDE,
            Self::NoRoot => NO_ROOT,
            Self::SecondRoot { .. } => SECOND_ROOT,
            Self::RootNamed { .. } => ROOT_NAMED,
            Self::EndWithoutNode { .. } => END_NODE,
            Self::EndInsideNode { .. } => END_INSIDE,
            Self::NoEnd { .. } => NO_END,
            Self::Depth { .. } => DEPTH,
            Self::Overlay { .. } | Self::Edit { .. } | Self::Unwritable { .. } => return None,
        })
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> &'static str {
        match self {
            Self::Short { .. } | Self::Magic { .. } => {
                "is this the right file? a device tree is what dtc or a kernel build makes, with the ending .dtb"
            }
            Self::TotalSizeLarge { .. } => "the file was cut off on its way: fetch or copy it again",
            Self::Depth { .. } => "no real tree is nested like this: the file is damaged or hostile, do not use it",
            Self::PropertyAfterNode { .. } => "move the property in front of the node's first subnode",
            _ => "the file is damaged: fetch or build it again; a board that is given it stays dark",
        }
    }
}
