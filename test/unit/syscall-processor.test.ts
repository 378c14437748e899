import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { keepOff } from '../../src/syscall/processor.ts'

const children: ChildProcess[] = []
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
})

async function start(...command: readonly string[]): Promise<number> {
  const [name = '', ...args] = command
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  child.stdin?.write('\n')
  await once(child.stdout as NodeJS.ReadableStream, 'data') // it is what it will be
  return child.pid ?? 0
}

/** `0-3,8` as numbers. */
function processorsOf(pid: number | 'self'): number[] {
  const list = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? ''
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}

const online = /^processor/gm
const isFree = processorsOf('self').length === (readFileSync('/proc/cpuinfo', 'latin1').match(online) ?? []).length

describe('who is kept off a processor', () => {
  it('may run on all others, where it was free and there are others', async () => {
    const pid = await start('cat')
    const before = processorsOf(pid)
    const changed = keepOff(pid)
    expect(changed).toBe(isFree && before.length > 1)
    const after = processorsOf(pid)
    expect(after.length).toBe(before.length - (changed ? 1 : 0))
    expect(before).toEqual(expect.arrayContaining(after))
  })

  it('is let alone where it was bound', async () => {
    const [first] = processorsOf('self')
    const pid = await start('taskset', '-c', String(first), 'cat')
    expect(keepOff(pid)).toBe(false)
    expect(processorsOf(pid)).toEqual([first])
  })

  it('need not exist', () => {
    expect(keepOff(2 ** 22 + 1)).toBe(false)
  })
})
