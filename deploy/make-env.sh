#!/bin/sh
# Print .env.example with a secret of 192 random bits in every empty line:
#   (umask 077; sh deploy/make-env.sh > .env)
set -eu
while IFS= read -r line; do
  case $line in
    '#'* | '') ;;
    *=) printf '%s%s\n' "$line" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
    *) printf '%s\n' "$line" ;;
  esac
done <"$(dirname "$0")/../.env.example"
