#!/bin/sh
# A program that can't keep a secret: `leak FILE EXIT SECRET`, and the secret on standard input. While FILE.wait is there it waits.
# If FILE.slowly is there, it waits behind each line until FILE.next is, or for some seconds.
given=$(cat)
heard() {
	tries=0
	while [ -e "$file.slowly" ] && [ ! -e "$file.next" ] && [ $tries -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
	rm -f "$file.next"
}
file=$1
printf '%s\n' "$given" >> "$1"
while [ -e "$1.wait" ]; do sleep 0.05; done
printf 'raw: %s\n' "$given"
heard
printf 'argument: %s\n' "$3"
heard
printf '{"token":"%s"}\n' "$(printf %s "$given" | sed 's/["\\]/\\&/g')"
heard
printf %s "$given" | base64
heard
printf 'Authorization: Basic '
printf 'admin:%s:' "$given" | base64 -w 0
printf '\nhexadecimal: '
printf %s "$given" | od -An -v -tx1 | tr -d ' \n'
printf '\n'
heard
printf 'half of it: %.20s' "$given"
heard
printf '%s\n' "${given#????????????????????}"
printf 'the end\n'
heard
if [ "$2" = 0 ]; then exit; fi
# Of a long output the end is kept, and it begins within the secret.
printf '%s' "$given"
head -c 32745 /dev/zero | tr '\0' x
printf '\nno: %s\n' "$given" >&2
printf 'cannot use "%s"\n' "$3" >&2
exit "$2"
