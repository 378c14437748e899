import { createContainer } from '../../../runtime/create.ts'
import type { RuntimeCommand } from '../command.ts'

export const create: RuntimeCommand = {
  name: 'create',
  usage: 'ID',
  description: 'Make a container; its command waits for start',
  flags: [
    { name: 'bundle', short: 'b', kind: 'string', value: 'dir', help: 'Directory with config.json (default: here)' },
    { name: 'pid-file', kind: 'string', value: 'file', help: 'Write the pid of the first process here' },
    { name: 'console-socket', kind: 'string', value: 'socket', help: "Send the terminal's master here" },
    { name: 'pidfd-socket', kind: 'string', value: 'socket', help: "Send the first process's pidfd here" },
    { name: 'preserve-fds', kind: 'string', value: 'n', help: 'Hand descriptors 3 to 2+n on' },
    { name: 'no-pivot', kind: 'bool', help: 'Use chroot instead of pivot_root (for a root on an initramfs)' },
    { name: 'no-new-keyring', kind: 'bool', help: "Keep the caller's session keyring" },
  ],
  operands: { min: 1, max: 1 },
  async run({ flags, operands, globals }) {
    const pidFile = flags.text('pid-file')
    const consoleSocket = flags.text('console-socket')
    const pidfdSocket = flags.text('pidfd-socket')
    await createContainer({
      root: globals.root,
      id: operands[0] ?? '',
      bundle: flags.text('bundle') ?? '.',
      preserveFds: Number(flags.text('preserve-fds') ?? 0),
      pivot: !flags.bool('no-pivot'),
      keyring: !flags.bool('no-new-keyring'),
      ...(pidFile === undefined ? {} : { pidFile }),
      ...(consoleSocket === undefined ? {} : { consoleSocket }),
      ...(pidfdSocket === undefined ? {} : { pidfdSocket }),
    })
    return 0
  },
}
