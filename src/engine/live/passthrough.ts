import { isatty } from 'node:tty'
import { TscrunError } from '../../model/errors.ts'
import type { LogOptions, Stdio } from '../../model/launch.ts'
import { streamsToGive } from '../../runtime/bundle.ts'
import type { ContainerRecord } from '../state/record.ts'

const NAMES = ['standard input', 'standard output', 'standard error'] as const

/**
 * Log driver `passthrough`: the container's streams are 0, 1 and 2 of this process. Throws USAGE where one of them is a
 * terminal: what runs in the container could type into it (TIOCSTI, ioctl_tty(2)).
 *
 * @param verb begins the words of the error: `run`, `start web`
 */
export function passthroughStreams(verb: string, tty: boolean): Stdio & { readonly kind: 'inherited' } {
  refuseTty(tty)
  const terminal = NAMES.find((_, fd) => isatty(fd))
  if (terminal !== undefined) {
    throw new TscrunError('USAGE', `${verb} --log-driver passthrough: ${terminal} is a terminal`, {
      subject: '--log-driver',
      hint: 'redirect all three, as in `</dev/null >file 2>&1`, or take another log driver',
    })
  }
  return { kind: 'inherited', give: streamsToGive() }
}

function refuseTty(tty: boolean): void {
  if (!tty) return
  throw new TscrunError('USAGE', '--log-driver passthrough: not with --tty', {
    subject: '--log-driver',
    hint: "the container's streams are the caller's own: there is no terminal between them",
  })
}

/**
 * Streams of a container that outlives its command.
 *
 * @param verb of the command whose streams they may become; absent where nothing is started by this process
 */
export function backgroundStreams(
  driver: LogOptions['driver'] | undefined,
  kept: { readonly terminal: boolean; readonly interactive: boolean },
  verb: string | undefined,
): Stdio {
  if (driver !== 'passthrough') return { kind: 'logged', ...kept }
  refuseTty(kept.terminal)
  const streams = verb === undefined ? NOT_GIVEN : passthroughStreams(verb, kept.terminal)
  return { ...streams, keep: true }
}

const NOT_GIVEN = { kind: 'inherited', give: [false, false, false] } as const

/** Throws CONTAINER_STATE where the streams of a container are not the monitor's to share. */
export function refuseAttach({ name, launch }: ContainerRecord, verb: string): void {
  if (launch?.log.driver !== 'passthrough') return
  throw new TscrunError(
    'CONTAINER_STATE',
    `${verb} ${name}: its streams are its starter's (--log-driver passthrough)`,
    {
      subject: name,
      hint: '`tscrun exec -it` has streams of its own',
    },
  )
}
