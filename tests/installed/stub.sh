#!/bin/sh
# Stands for the commands that install.sh calls: notes each call, fails where it is told to, and does
# as much of the work as the next step looks at. STUB_AT is the number of the call that fails, or
# ends by STUB_SIGNAL the script that called.
name=${0##*/}
printf '%s %s\n' "$name" "$*" | tr '\n' ' ' >>"$STUB_LOG"
echo >>"$STUB_LOG"
if [ "$(wc -l <"$STUB_LOG")" = "${STUB_AT:-}" ]; then
    [ -z "${STUB_SIGNAL:-}" ] || kill -s "$STUB_SIGNAL" "$PPID"
    exit 1
fi
case $name in
id) echo "${STUB_UID:-0}" ;;
uname) echo "${STUB_MACHINE:-aarch64}" ;;
getconf) [ -z "${STUB_MUSL:-}" ] && echo "glibc ${STUB_GLIBC:-2.35}" ;;
getent) [ -e "$STUB_GROUP" ] ;;
groupadd) touch "$STUB_GROUP" ;;
groupdel) rm "$STUB_GROUP" ;;
install) if [ "$4" = -g ]; then /usr/bin/install -d -m "$3" "$6"; else /usr/bin/install "$@"; fi ;;
stat) case $* in *%U*) echo "${STUB_OWNER:-root}" ;; *) echo "${STUB_OWNER_ID:-0}" ;; esac ;;
python*)
    case $* in
    *calcsize*) echo "${STUB_PYTHON:-3.10 64}" ;;
    *ensurepip*) [ -z "${STUB_BARE:-}" ] ;;
    *urlretrieve*) for last; do :; done && cp "$STUB_ARCHIVE" "$last" ;;
    *hw.restore*) [ -n "${STUB_STUCK:-}" ] || rm "$DESTDIR/var/lib/dvfo/journal.jsonl" ;;
    *get_available_providers*) echo CPUExecutionProvider ;;
    "-m venv "*) mkdir -p "$3/bin" && ln -s "$STUB" "$3/bin/python" ;;
    *"--constraint "*) for file; do case $file in */constraints) cp "$file" "$STUB_LOG.constraints" ;; esac; done ;;
    esac
    ;;
esac
