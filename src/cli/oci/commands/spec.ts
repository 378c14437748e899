import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, TscrunError } from '../../../model/errors.ts'
import { defaultConfig } from '../../../spec/default-config.ts'
import type { RuntimeCommand } from '../command.ts'

export const spec: RuntimeCommand = {
  name: 'spec',
  usage: '',
  description: 'Write a config.json to begin with',
  flags: [
    { name: 'bundle', short: 'b', kind: 'string', value: 'dir', help: 'Directory to write it into (default: here)' },
    { name: 'rootless', kind: 'bool', help: 'For a caller who is not root' },
  ],
  operands: { min: 0, max: 0 },
  async run({ flags }) {
    const rootless = flags.bool('rootless')
    const config = defaultConfig(
      rootless ? { rootless: { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 } } : {},
    )
    const file = join(flags.text('bundle') ?? '.', 'config.json')
    try {
      writeFileSync(file, `${JSON.stringify(config, null, '\t')}\n`, { flag: 'wx', mode: 0o666 })
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === undefined) throw error
      const reason = errno === 'EEXIST' ? 'the file exists' : errno === 'ENOENT' ? 'no such file or directory' : errno
      throw new TscrunError('USAGE', `write ${file}: ${reason}`, { errno, subject: file, cause: error })
    }
    return 0
  },
}
