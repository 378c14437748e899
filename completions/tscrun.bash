# bash completion for tscrun: what can follow is asked of `tscrun __complete` at each press of the key.
_tscrun() {
  local IFS=$' \t\n' words=() lines=() line word rest directive current prefix i
  # bash breaks words at = and :, too: what touches in the line belongs together.
  rest=${COMP_LINE:-${COMP_WORDS[*]}}
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if ((${#words[@]} == 0)) || [[ $rest == [[:space:]]* ]]; then
      rest=${rest#"${rest%%[![:space:]]*}"}
      words+=("$word")
    else
      words[${#words[@]} - 1]+=$word
    fi
    rest=${rest#"$word"}
  done
  current=${words[${#words[@]} - 1]}
  mapfile -t lines < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
  COMPREPLY=()
  ((${#lines[@]} > 0)) || return 0
  directive=${lines[${#lines[@]} - 1]#:}
  unset "lines[${#lines[@]} - 1]"
  # Only what stands behind the last break is replaced.
  prefix=${current%"${current##*[:=]}"}
  for line in "${lines[@]}"; do
    word=${line%%$'\t'*}
    COMPREPLY+=("${word#"$prefix"}")
  done
  case $directive in
    nospace) compopt -o nospace 2>/dev/null ;;
    files) compopt -o default 2>/dev/null ;;
    directories) compopt -o dirnames 2>/dev/null ;;
  esac
  return 0
}
complete -F _tscrun tscrun
