#!/bin/sh
# A program that can't keep a secret: `leak FILE EXIT SECRET`, and the secret on standard input. While FILE.wait is there it waits.
given=$(cat)
printf '%s\n' "$given" >> "$1"
while [ -e "$1.wait" ]; do sleep 0.05; done
printf 'raw: %s\n' "$given"
printf 'argument: %s\n' "$3"
printf '{"token":"%s"}\n' "$(printf %s "$given" | sed 's/["\\]/\\&/g')"
printf %s "$given" | base64
printf 'Authorization: Basic '
printf 'admin:%s:' "$given" | base64 -w 0
printf '\nhexadecimal: '
printf %s "$given" | od -An -v -tx1 | tr -d ' \n'
printf '\n'
if [ "$2" = 0 ]; then exit; fi
# Of a long output the end is kept, and it begins within the secret.
printf '%s' "$given"
head -c 32745 /dev/zero | tr '\0' x
printf '\nno: %s\n' "$given" >&2
printf 'cannot use "%s"\n' "$3" >&2
exit "$2"
