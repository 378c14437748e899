import { chooseContainers, forEachContainer } from '../choice.ts'
import type { Command } from '../command.ts'
import { RM_FLAGS } from '../flags/store.ts'
import { stopOptions } from '../parse/stop.ts'

export const rmCommand: Command = {
  name: 'rm',
  usage: '[CONTAINER...]',
  description: 'Remove containers, by name or id',
  flags: RM_FLAGS,
  operands: { min: 0, max: Number.POSITIVE_INFINITY, noun: 'container' },
  async run({ flags, operands, globals, engine }) {
    const [force, volumes] = [flags.bool('force'), flags.bool('volumes')]
    const { timeoutMs } = stopOptions(flags)
    const options = { force, volumes, ...(timeoutMs === undefined ? {} : { timeoutMs }) }
    const chosen = await chooseContainers(engine, { verb: 'rm', flags, operands }, [
      'created',
      'running',
      'paused',
      'restarting',
      'stopped',
    ])
    const opened = await engine()
    return forEachContainer(chosen, (name) => opened.remove(name, options), {
      // As docker and podman have it: what is to be gone by force may be gone already.
      ignore: flags.bool('ignore') || force,
      debug: globals.debug,
    })
  },
}
