/** Environment variables by name, e.g. `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The home directory whose settings and logins count: under sudo that of root. */
export function homeOf(env: Environment): string {
  // Loaded only where it is needed: every start of a container by a short name comes by here.
  return env['HOME'] || process.getBuiltinModule('node:os').homedir()
}
