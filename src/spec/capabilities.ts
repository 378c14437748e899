import { TscrunError } from '../model/errors.ts'
import type { RunOptions } from '../model/run-options.ts'
import { addAndDrop, CAPABILITIES, DEFAULT_CAPABILITIES, parseCapability } from '../security/capabilities.ts'

/**
 * The capabilities of a container. In the host's user namespace nobody can give what tscrun itself does not have.
 *
 * @param available what this process has; undefined in a user namespace of the container's, where all are there
 */
export function capabilitiesOf(options: RunOptions, available: readonly string[] | undefined): string[] {
  const usual = options.defaultCapabilities?.map(parseCapability) ?? DEFAULT_CAPABILITIES
  const base = options.privileged === true || usual.includes('ALL') ? CAPABILITIES : usual
  const wanted = addAndDrop(base, options.capAdd ?? [], options.capDrop ?? [])
  if (available === undefined) return wanted
  const missing = wanted.filter((name) => !available.includes(name))
  const named = missing.find((name) => options.capAdd?.some((added) => parseCapability(added) === name))
  if (named !== undefined) {
    throw new TscrunError('PERMISSION_DENIED', `--cap-add ${named}: tscrun itself does not have it here`, {
      subject: named,
      hint: 'give it to the surrounding container, or use a user namespace (--userns=auto), where it is always there',
    })
  }
  return wanted.filter((name) => available.includes(name))
}
