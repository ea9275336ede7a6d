#!/usr/bin/env bash
# Makes this machine able to compile the overlay installer for both architectures, with a compiler from Debian's own
# packages where rustup has no standard library for the target (`spec/experiments.md` §1).
#
#   . .ci/cross.sh      install what is missing and export the variables
#   .ci/cross.sh        the same, and print the variables
#
# On Debian bookworm, x86-64, as root. Where everything is installed it takes a moment and changes nothing. x86-64 needs
# nothing of this: rustup's own standard library links statically against the GNU C library.

talos_rk_cross() {
    local home=${TALOS_RK_CROSS_HOME:-/opt/talos-rk-cross}
    local libs=$home/lib/rustlib
    local here=x86_64-unknown-linux-gnu there=aarch64-unknown-linux-gnu
    local rustc=$home/bin/rustc version
    installed() { dpkg-query -W -f '${Version}' libstd-rust-web-dev 2>/dev/null; }

    # Compiler and library must be of one version, also after an upgrade.
    if [ "$(cat "$home/complete" 2>/dev/null)" != "$(installed || echo none)" ] || [ ! -x /usr/bin/aarch64-linux-gnu-gcc ] || [ ! -x /usr/bin/qemu-aarch64-static ] ||
        [ ! -x /usr/bin/rustc ]; then
        if [ "$(id -u)" != 0 ]; then
            echo "cross.sh: not root, and $home is not complete" >&2
            return 3
        fi
        dpkg --print-foreign-architectures | grep -qx arm64 || dpkg --add-architecture arm64 || return
        apt-get update -qq || return
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            rustc-web libstd-rust-web-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc libc6-dev qemu-user-static \
            >/dev/null || return
        # The Arm library is unpacked, not installed: its dependencies are the Arm compiler and all of LLVM.
        version=$(installed) || return
        rm -rf "$home"
        mkdir -p "$home/arm64" "$libs" "$home/bin"
        (cd "$home/arm64" && apt-get download -qq "libstd-rust-web-dev:arm64=$version" 2>/dev/null &&
            dpkg -x ./*.deb . && rm ./*.deb) || return
        ln -s "../../arm64/usr/lib/rustlib/$there" "$libs/$there"
        ln -s "/usr/lib/rustlib/$here" "$libs/$here"
        # A compiler that finds both libraries. Debian's sysroot of its own has the one of this machine only.
        printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot %q "$@"\n' "$home" >"$rustc"
        chmod 755 "$rustc"
        [ -d "$("$rustc" --print target-libdir --target $there)" ] || return
        echo "$version" >"$home/complete"
    fi
    export TALOS_RK_RUSTC_AARCH64=$rustc
    export TALOS_RK_LINKER_AARCH64=/usr/bin/aarch64-linux-gnu-gcc
}

if talos_rk_cross; then
    if [ "${BASH_SOURCE[0]}" = "$0" ]; then
        env | grep '^TALOS_RK_.*_AARCH64='
    fi
else
    echo "cross.sh: the compiler for aarch64 could not be set up" >&2
    if [ "${BASH_SOURCE[0]}" = "$0" ]; then exit 3; else return 3; fi
fi
