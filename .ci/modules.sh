#!/usr/bin/env bash
# Unpacks Debian's kernel for arm64 with its modules, beside which the tests read and index modules.
#
#   . .ci/modules.sh FOLDER      unpack it there, if it is not, and export TALOS_RK_MODULES
#   .ci/modules.sh FOLDER        the same, and print the variable
#
# On Debian, as root (an architecture is added to dpkg's). Nothing is installed; 21 MB are fetched once.

talos_rk_modules() {
    local folder=$1 part
    if [ ! -e "$folder/boot" ]; then
        if ! dpkg --print-foreign-architectures | grep -qx arm64; then
            dpkg --add-architecture arm64 || return
            apt-get update -qq || return
        fi
        name() { apt-cache depends linux-image-cloud-arm64:arm64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^:]*\).*/\1/p'; }
        [ -n "$(name)" ] || apt-get update -qq || return
        part=$(mktemp -d "$folder.XXXXXX") || return
        fetch() { (cd "$part" && apt-get download -qq "$(name):arm64" 2>/dev/null); }
        # Archives drop a version soon after the next one.
        fetch || { apt-get update -qq && fetch; } || return
        (cd "$part" && dpkg -x ./*.deb . && rm ./*.deb) || return
        rm -rf "$folder"
        mv "$part" "$folder" || return
    fi
    export TALOS_RK_MODULES=$folder
}

if talos_rk_modules "${1:?the folder to unpack to}"; then
    if [ "${BASH_SOURCE[0]}" = "$0" ]; then
        env | grep '^TALOS_RK_MODULES='
    fi
else
    echo "modules.sh: Debian's kernel for arm64 could not be fetched" >&2
    if [ "${BASH_SOURCE[0]}" = "$0" ]; then exit 3; else return 3; fi
fi
