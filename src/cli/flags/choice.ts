import type { Flag } from './flag.ts'

/** Flags that choose containers without naming them. */
export const LATEST: Flag = { name: 'latest', short: 'l', kind: 'bool', help: 'The container that was made last' }
export const CIDFILE: Flag = {
  name: 'cidfile',
  kind: 'list',
  value: 'file',
  help: 'Also the container whose id is in this file',
}
export const IGNORE: Flag = {
  name: 'ignore',
  short: 'i',
  kind: 'bool',
  help: 'A container that is not there is no error',
}
export const ALL: Flag = {
  name: 'all',
  short: 'a',
  kind: 'bool',
  help: 'All containers, or those that --filter leaves',
}
export const FILTER: Flag = {
  name: 'filter',
  short: 'f',
  kind: 'list',
  value: 'key=value',
  help: 'All containers that match, as in ps',
}
