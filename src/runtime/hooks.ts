import { spawn } from 'node:child_process'
import type { OciHook } from '../model/config.ts'
import { readConfig } from '../spec/read-config.ts'
import type { StateDocument } from './state.ts'

/**
 * Runs the hooks of one kind that come when the container cannot be stopped any more (`poststart`, `poststop`), in
 * their order, each to its end. Answers a line for each that failed; the others are run all the same (runtime.md,
 * Lifecycle 10 and 13: "MUST log a warning, but MUST continue").
 *
 * @param text config.json as it was when the container was made
 */
export async function runHooks(
  kind: 'poststart' | 'poststop',
  text: string,
  state: Pick<StateDocument, 'ociVersion' | 'id' | 'status' | 'pid' | 'bundle' | 'annotations'>,
): Promise<string[]> {
  // Most containers have none, and reading takes time.
  if (!text.includes(`"${kind}"`)) return []
  const { ociVersion, id, status, pid, bundle, annotations } = state
  const input = JSON.stringify({ ociVersion, id, status, pid, bundle, ...(annotations && { annotations }) })
  const warnings: string[] = []
  for (const [index, hook] of (readConfig(text).hooks?.[kind] ?? []).entries()) {
    const failure = await runHook(hook, input)
    if (failure !== undefined) warnings.push(`hooks.${kind}[${index}] ${hook.path}: ${failure}`)
  }
  return warnings
}

/** Undefined where it ended well, else what went wrong with the last line it wrote. */
function runHook({ path, args = [path], env = [], timeout }: OciHook, input: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(path, args.slice(1), {
      argv0: args[0] ?? path,
      // A group of its own, to be killed with all it started.
      detached: true,
      env: Object.fromEntries(
        env.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
      ),
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    let output = ''
    let timedOut = false
    const clock =
      timeout === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true
            if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
          }, timeout * 1000)
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', (text: string) => (output = (output + text).slice(-NOTE_LENGTH)))
    }
    // Who does not read its state is no failure.
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
    const done = (failure: string | undefined): void => {
      clearTimeout(clock)
      for (const stream of [child.stdout, child.stderr]) stream.destroy()
      resolve(failure)
    }
    child.on('error', (error) => done(error.message))
    child.on('exit', (code, signal) => {
      if (timedOut) return done(`not done after ${timeout} s, killed`)
      const how = signal === null ? `exit status ${code}` : `ended by ${signal}`
      return done(code === 0 ? undefined : withLastLine(how, output))
    })
  })
}

const NOTE_LENGTH = 1024

/** `exit status 1: what it said last`. */
export function withLastLine(what: string, output: string): string {
  const last = output.trimEnd().split('\n').at(-1)?.trim() ?? ''
  return last === '' ? what : `${what}: ${last}`
}
