import { homedir } from 'node:os'

/** Environment variables by name, e.g. `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The home directory whose settings and logins count: under sudo that of root. */
export function homeOf(env: Environment): string {
  return env['HOME'] || homedir()
}
