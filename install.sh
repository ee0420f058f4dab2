#!/bin/sh
# Installs dvfo on a board: environment with packages, rights of a group, service.
#
# Writes below this folder, and with --group or --service also below /etc and /var/lib; $DESTDIR, if
# set, stands before those two. A step that fails is undone, and so is what this run did before it.

set -eu

OLDEST=310 # Pythons that pyproject.toml takes
NEWEST=313
ENOUGH_GLIBC=228 # for the wheel of onnxruntime that constraints.txt names
# A Python that needs nothing but glibc 2.17: python-build-standalone, of the version that the tests
# run with. Address and checksums are those of uv's list of downloads.
STANDALONE=3.11.16+20260814
STANDALONE_AT=https://github.com/astral-sh/python-build-standalone/releases/download/20260814
STANDALONE_AARCH64=6a250f5c9326eebaa528d5d132cd66ebd1d7540cf45ac703f19e13f41d1be9b6
STANDALONE_X86_64=3b437f08720d3ddd9c1904532476ec9fb373e800d1598c72c907dd6d5f29b79b

help() {
    cat <<'HELP'
usage: ./install.sh [--python PATH | --standalone] [--runtime PACKAGE [--index URL]]
                    [--group] [--service OPTIONS]
       ./install.sh --uninstall

Makes .venv in this folder and installs the packages that a board needs, without torch.

  --python PATH      the Python to use, instead of python3
  --standalone       download a Python into .python and use it, where the system's does not do;
                     the archive is taken from this folder if it lies there
  --runtime PACKAGE  the build of ONNX Runtime: a name as onnxruntime-gpu, or a wheel's file;
                     without it the one for processors alone
  --index URL        the package index that has it
  --group            as root: let the group dvfo set clocks, without root (docs/permissions.md)
  --service OPTIONS  as root: a systemd service that runs deploy.py with these options (one word)
  --uninstall        give the clocks back, and take away what this script made
  --help             print this
Which of them a system needs: the table in docs/board.md.
HELP
}

say() { printf '%s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

options() {
    python='' standalone='' runtime='' index='' group='' service='' uninstall=''
    while [ $# -gt 0 ]; do
        case $1 in
        --python | --runtime | --index | --service)
            [ -n "${2:-}" ] || die "$1 needs a value; ./install.sh --help explains it"
            case $1 in
            --python) python=$(command -v "$2") || die "there is no Python $2; give the path of one" ;;
            --runtime) if [ -f "$2" ]; then runtime=$(readlink -f "$2"); else runtime=$2; fi ;;
            --index) index=$2 ;;
            --service) service=$2 ;;
            esac
            shift 2
            continue
            ;;
        --standalone) standalone=yes ;;
        --group) group=yes ;;
        --uninstall) uninstall=yes ;;
        -h | --help)
            help
            exit 0
            ;;
        *) die "there is no option $1; ./install.sh --help lists those there are" ;;
        esac
        shift
    done
    case $python in [!/]*/*) python=$PWD/$python ;; esac
    [ -z "$python" ] || [ -z "$standalone" ] || die "--python and --standalone name two Pythons; give one of them"
    [ -z "$index" ] || [ -n "$runtime" ] || die "--index says where --runtime comes from; give both"
}

paths() {
    cd "$(dirname "$0")"
    here=$(pwd -P)
    venv=$here/.venv
    own_python=$here/.python
    mark=.made-by-install.sh
    stamp=$venv/$mark
    rules=${DESTDIR:-}/etc/udev/rules.d/99-dvfo.rules
    unit=${DESTDIR:-}/etc/systemd/system/dvfo.service
    state=${DESTDIR:-}/var/lib/dvfo
}

# Undoing

made_venv='' made_python='' made_group='' made_rules='' made_unit='' made_state='' tmp=''

undo() {
    status=$?
    trap '' INT TERM HUP
    set +e
    [ "$status" -eq 0 ] || take_back
    rm -rf "$tmp"
    case $status in 0 | 2 | 129 | 130 | 143) ;; *) die "a step failed; its own words stand above" ;; esac
}

take_back() {
    [ -z "$made_unit" ] || { put_back "$unit" && systemctl daemon-reload; }
    [ -z "$made_rules" ] || { put_back "$rules" && udevadm control --reload; }
    [ -z "$made_state" ] || rm -rf "$state"
    [ -z "$made_group" ] || groupdel dvfo
    [ -z "$made_venv" ] || { rm -rf "$venv" && recover "$venv"; }
    [ -z "$made_python" ] || { rm -rf "$own_python" && recover "$own_python"; }
    [ -z "$made_venv$made_python$made_group$made_rules$made_unit$made_state" ] ||
        say "undone: what this run had made" >&2
}

# A folder that is made anew waits beside it as FOLDER.before till all is done.
aside() { # FOLDER
    [ ! -d "$1" ] || mv "$1" "$1.before"
}

recover() { # FOLDER
    if [ -f "$1.before/$mark" ]; then rm -rf "$1" && mv "$1.before" "$1"; fi
    rm -rf "$1.before"
}

discard() { # FOLDER
    rm -f "$1.before/$mark" # what is half removed is never taken for whole
    rm -rf "$1.before"
}

# A file of the system is replaced in one step; what stood there is kept till the end.
place() { # FROM TO
    if [ -e "$2" ]; then cp -p "$2" "$tmp/before-${2##*/}" || return; fi
    install -D -m 0644 "$1" "$2.new" && mv -f "$2.new" "$2"
}

put_back() { # FILE
    rm -f "$1.new"
    before=$tmp/before-${1##*/}
    if [ -e "$before" ]; then install -m 0644 "$before" "$1"; else rm -f "$1"; fi
}

# Checks, before anything is changed

check_root() { # WHAT FOR
    [ "$(id -u)" = 0 ] || die "$1 needs root; run it again with sudo"
}

check_machine() {
    glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) ||
        die "this system has no glibc, and ONNX Runtime has wheels for no other C library"
    glibc=$(version_number "${glibc#glibc }")
    [ "$glibc" -ge 227 ] || die "glibc is older than 2.27, for which no packages are made; install a newer system"
    [ -z "$service" ] || check_service
    if [ -n "$group" ]; then
        check_root --group
        for needed in groupadd usermod udevadm; do
            command -v "$needed" >/dev/null || die "--group needs $needed, which is not here; in a container leave --group out"
        done
    fi
}

check_service() {
    check_root --service
    command -v systemctl >/dev/null || die "--service needs systemd, which is not here; in a container run deploy.py itself"
    case $here in
    /home/* | /root/* | /run/user/*)
        die "a service sees no folder of a user, and this is $here; clone it to /opt/dvfo as root"
        ;;
    *[!A-Za-z0-9/._-]*) die "systemd would misread the name $here; clone it to /opt/dvfo as root" ;;
    esac
    [ "$(stat -c %u .)" = 0 ] ||
        die "$here belongs to $(stat -c %U .), who could make the service of root do anything; clone it to /opt/dvfo as root"
    case " $service " in
    *" --run "* | *" --run="*) ;;
    *) die "the options of --service name no run; as in --service '--run /opt/dvfo/run --listen 127.0.0.1:50060'" ;;
    esac
    case $service in
    *[!\ -~]*) die "the options of --service hold a line end or a sign beyond ASCII; write them in one line" ;;
    esac
}

version_number() { # 2.27 -> 227, 3.9 -> 309
    minor=${1#*.}
    printf '%d%02d' "${1%%.*}" "${minor%%.*}"
}

# Python

# A later run without these options keeps to what was chosen.
recall() {
    [ -f "$stamp" ] || return 0
    [ -n "$python$standalone" ] || python=$(sed -n 1p "$stamp")
    [ -n "$runtime" ] || { runtime=$(sed -n 2p "$stamp") && index=$(sed -n 3p "$stamp"); }
    [ "$runtime$index" != onnxruntime ] || runtime=''
}

choose_python() {
    if [ -n "$standalone" ]; then
        fetch_python
        python=$own_python/bin/python3
    fi
    python=${python:-python3}
    command -v "$python" >/dev/null || die "there is no $python; sudo apt-get install python3 python3-venv, or use ./install.sh --standalone"
    python=$(command -v "$python")
    found=$("$python" -c 'import struct, sys; print("%d.%d" % sys.version_info[:2], 8 * struct.calcsize("P"))') ||
        die "$python does not run; use ./install.sh --standalone"
    version=${found% *}
    number=$(version_number "$version")
    if [ "$number" -lt $OLDEST ] || [ "$number" -gt $NEWEST ]; then
        die "$python is Python $version, and 3.10 to 3.13 are needed; ./install.sh --standalone brings one and leaves the system's alone"
    fi
    [ "${found#* }" = 64 ] || die "$python is a 32-bit program, for which ONNX Runtime has no wheels; install the system's 64-bit image"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make environments; sudo apt-get install python3-venv, or use ./install.sh --standalone"
    if [ -n "$service" ]; then
        case $(readlink -f "$python") in
        /home/* | /root/*) die "a service sees no folder of a user, and $python lies in one; use ./install.sh --standalone" ;;
        esac
    fi
    say "python: $version, $python"
}

fetch_python() {
    arch=$(uname -m)
    case $arch in
    aarch64) checksum=$STANDALONE_AARCH64 ;;
    x86_64) checksum=$STANDALONE_X86_64 ;;
    *) die "there is no standalone Python for $arch; give a Python of 3.10 to 3.13 by --python" ;;
    esac
    if [ "$(cat "$own_python/$mark" 2>/dev/null)" = "$checksum" ]; then
        say "standalone python: as it is" && return
    fi
    archive=cpython-$STANDALONE-$arch-unknown-linux-gnu-install_only_stripped.tar.gz
    if [ -f "$archive" ]; then
        say "standalone python: $archive"
        cp "$archive" "$tmp/archive"
    else
        url=$STANDALONE_AT/$(say "$archive" | sed 's/+/%2B/')
        say "standalone python: $url"
        # Any Python can; some boards have neither curl nor wget.
        python3 -c 'import sys, urllib.request as r; r.urlretrieve(*sys.argv[1:])' "$url" "$tmp/archive" ||
            die "$url cannot be downloaded; put that file into $here and run this again"
    fi
    say "$checksum  $tmp/archive" | sha256sum -c - >/dev/null 2>&1 ||
        die "the archive of the standalone Python is not the one that is expected (SHA-256 $checksum); delete it and run this again"
    aside "$own_python"
    made_python=yes
    mkdir "$own_python"
    tar -xzf "$tmp/archive" -C "$own_python" --strip-components=1 || die "$archive cannot be unpacked; is the disk full?"
    say "$checksum" >"$own_python/$mark"
}

# Packages

packages() {
    wanted=$(printf '%s\n' "$python" "$runtime" "$index" "$version, glibc $glibc, $here" &&
        cat pyproject.toml constraints.txt | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$venv/bin/python" -c '' 2>/dev/null; then
        say "packages: as they are" && return
    fi
    [ ! -e "$venv" ] || [ -f "$stamp" ] || die "$venv was not made by this script, and would be replaced; move it away"
    [ "$(id -u)" != 0 ] || [ "$(stat -c %u .)" = 0 ] ||
        die "$here belongs to $(stat -c %U .): run ./install.sh as that user first, then again with sudo"
    constrain
    say "packages: into $venv, which takes some minutes"
    aside "$venv"
    made_venv=yes
    mkdir "$venv"
    : >"$stamp" # as long as it is empty, the next run makes it anew
    "$python" -m venv "$venv" || die "$python cannot make an environment in $venv; is the disk full?"
    pip install --constraint "$tmp/constraints" --editable '.[edge,photos]' ||
        die "the packages cannot be installed; see pip's words above, and run this again"
    if [ -n "$runtime" ]; then
        # Both write the folder onnxruntime; what the one needs is there for the other.
        pip uninstall --yes onnxruntime || die "the build of ONNX Runtime for processors cannot be removed"
        pip install --no-deps ${index:+--index-url "$index"} "$runtime" ||
            die "$runtime cannot be installed; see pip's words above, and the table in docs/board.md"
    fi
    check_packages
    say "$wanted" >"$stamp"
}

pip() {
    command=$1
    shift
    "$venv/bin/python" -m pip "$command" --quiet --disable-pip-version-check "$@"
}

constrain() {
    if [ "$glibc" -lt $ENOUGH_GLIBC ]; then
        say "packages: the newest onnxruntime for this glibc, not the one of constraints.txt"
        sed '/^onnxruntime==/d' constraints.txt >"$tmp/constraints"
    else
        cp constraints.txt "$tmp/constraints"
    fi
}

check_packages() {
    "$venv/bin/python" deploy.py --help >/dev/null || die "deploy.py does not start with these packages; see its words above"
    providers=$("$venv/bin/python" -c 'import onnxruntime; print(", ".join(onnxruntime.get_available_providers()))') ||
        die "${runtime:-onnxruntime} does not load; see its words above, and the table in docs/board.md"
    say "packages: ONNX Runtime has $providers"
}

# Rights

grant() {
    if ! getent group dvfo >/dev/null; then
        groupadd --system dvfo || die "the group dvfo cannot be made"
        made_group=yes
        say "group: dvfo"
    fi
    if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        usermod --append --groups dvfo "$SUDO_USER" || die "$SUDO_USER cannot become a member of the group dvfo"
        say "group: $SUDO_USER is a member from the next login on"
    else
        say "group: usermod --append --groups dvfo NAME makes a user a member"
    fi
    if [ ! -d "$state" ]; then
        made_state=yes
        mkdir -p "$state" && : >"$state/$mark"
    fi
    install -d -m 2770 -g dvfo "$state" || die "$state cannot be made"
    say "journal: $state"
    made_rules=yes
    place docs/99-dvfo.rules "$rules" || die "$rules cannot be written"
    { udevadm control --reload && udevadm trigger --action=add; } || die "udev does not take $rules"
    say "rules: $rules"
}

serve() {
    # Percent and dollar signs are systemd's own, the others sed's.
    text=$(say "$service" | sed 's/[%$]/&&/g; s/[&\\|]/\\&/g')
    sed -e "s|/opt/dvfo|$here|g" -e "s|^ExecStart=.*|ExecStart=$venv/bin/python deploy.py $text|" \
        docs/dvfo.service >"$tmp/unit"
    made_unit=yes
    place "$tmp/unit" "$unit" || die "$unit cannot be written"
    { systemctl daemon-reload && systemctl enable --quiet dvfo.service; } || die "systemd does not take $unit"
    say "service: $unit; sudo systemctl restart dvfo starts it"
}

# Taking away

uninstall() {
    if [ -e "$unit" ] || [ -e "$rules" ]; then check_root "--uninstall of service and rules"; fi
    if [ -e "$unit" ]; then
        systemctl disable --now --quiet dvfo.service || die "the service does not stop; systemctl status dvfo says why"
        rm -f "$unit"
        systemctl daemon-reload
        say "removed: $unit"
    fi
    if [ -e "$state/journal.jsonl" ]; then
        [ ! -f "$stamp" ] || "$venv/bin/python" -m hw.restore || die "the clocks are not given back; see the words above, then run this again"
        [ ! -e "$state/journal.jsonl" ] ||
            die "$state/journal.jsonl holds what clocks were before; python -m hw.restore gives them back, or a boot does; then run this again"
    fi
    if [ -f "$state/$mark" ]; then
        flock --nonblock "$state/lock" true || die "a process drives this machine; stop it, then run this again"
        rm -rf "$state"
        say "removed: $state"
    fi
    if [ -e "$rules" ]; then
        rm -f "$rules"
        udevadm control --reload
        if getent group dvfo >/dev/null; then groupdel dvfo; fi
        say "removed: $rules and the group dvfo; what it may write lasts till the next boot"
    fi
    for folder in "$venv" "$own_python"; do
        if [ -f "$folder/$mark" ]; then
            rm -rf "$folder" "$here/dvfo.egg-info"
            say "removed: $folder"
        fi
    done
    say "kept: models and runs in $here"
}

main() {
    options "$@"
    paths
    trap undo EXIT
    trap 'exit 130' INT && trap 'exit 143' TERM && trap 'exit 129' HUP
    if [ -n "$uninstall" ]; then
        uninstall
        exit
    fi
    tmp=$(mktemp -d)
    check_machine
    recover "$venv" # where a run was killed
    recover "$own_python"
    recall
    choose_python
    packages
    [ -z "$group" ] || grant
    [ -z "$service" ] || serve
    discard "$venv"
    discard "$own_python"
    say "done: .venv/bin/python -m hw.doctor says what this machine can set and measure"
}

main "$@"
