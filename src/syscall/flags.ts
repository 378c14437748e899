import { constants } from 'node:fs'

/** open(2)'s flags as this processor has them. */
export const openFlags = {
  readonly: constants.O_RDONLY,
  directory: constants.O_DIRECTORY,
  nofollow: constants.O_NOFOLLOW,
  nonblock: constants.O_NONBLOCK,
  path: 0o10000000,
  cloexec: 0o2000000,
} as const
