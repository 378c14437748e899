import { describe, expect, it } from 'vitest'
import { createLiveTable } from '../../src/cli/output/live-table.ts'
import { STATS_COLUMNS, statsRow } from '../../src/cli/output/stats.ts'
import { formatTop } from '../../src/cli/output/top.ts'
import { sumInterfaces } from '../../src/engine/show/stats.ts'
import { readProcess, upSeconds } from '../../src/engine/top/process.ts'
import { chooseColumns } from '../../src/engine/top/top.ts'
import { cpuTime, elapsed, ttyName } from '../../src/engine/top/values.ts'

const titles = (...words: string[]): string =>
  chooseColumns(words)
    .map(({ title }) => title)
    .join(' ')

describe('the columns of top', () => {
  it.each([
    [[], 'UID PID PPID C STIME TTY TIME CMD'],
    [['-ef'], 'UID PID PPID C STIME TTY TIME CMD'],
    [['aux'], 'USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND'],
    [['-aux'], 'USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND'],
    [['-e'], 'PID TTY TIME CMD'],
    [['-eo', 'pid,cmd'], 'PID CMD'],
    [['-eopid,ppid'], 'PID PPID'],
    [['-o', 'pid', '-o', 'comm=NAME'], 'PID NAME'],
    [['--format=uid,stat'], 'UID STAT'],
    [['o', 'pid'], 'PID'],
    [['user', 'pid', 'HPID'], 'USER PID HPID'],
    [['user,pid', 'args'], 'USER PID COMMAND'],
    [['%p', '%C'], 'PID %CPU'],
  ])('%j are %s', (words, expected) => {
    expect(titles(...words)).toBe(expected)
  })

  it.each([
    [['-o'], 'top -o: columns are missing'],
    [['-o', 'pids'], 'top pids: no such column'],
    [['pid', 'foo'], 'top foo: no such column'],
    [['--sort', 'pid'], 'top --sort: neither a column nor an option of ps'],
    [['-C', 'sh'], 'top -C: neither a column nor an option of ps'],
  ])('%j are refused', (words, message) => {
    expect(() => titles(...words)).toThrow(message)
  })
})

describe('what top shows of a process', () => {
  it('is what the kernel says of this one', () => {
    const facts = readProcess(process.pid, upSeconds())
    expect(facts).toMatchObject({
      pid: process.pid,
      ppid: process.ppid,
      uids: [process.getuid?.(), process.geteuid?.(), process.geteuid?.(), process.geteuid?.()],
    })
    expect(facts?.args[0]).toBe(process.argv0)
    expect(facts?.residentBytes).toBeGreaterThan(2 ** 20)
    expect(facts?.ageSeconds).toBeGreaterThanOrEqual(0)
    expect(readProcess(2 ** 22 + 1, upSeconds())).toBeUndefined()
  })

  it('is written as ps writes it', () => {
    expect(cpuTime(3.9)).toBe('00:00:03')
    expect(cpuTime(86_400 + 3600 + 61)).toBe('1-01:01:01')
    expect(elapsed(65)).toBe('01:05')
    expect(elapsed(3665)).toBe('01:01:05')
    expect(elapsed(86_400)).toBe('1-00:00:00')
    const tty = (major: number, minor: number): string =>
      ttyName({ tty: (major << 8) | minor } as Parameters<typeof ttyName>[0])
    expect([tty(0, 0), tty(136, 3), tty(137, 1), tty(4, 1), tty(4, 65)]).toEqual([
      '?',
      'pts/3',
      'pts/257',
      'tty1',
      'ttyS1',
    ])
  })

  it('cannot move the cursor', () => {
    expect(formatTop({ titles: ['COMMAND'], processes: [['\x1b[2Jevil\nline']] })).toBe('COMMAND\n[2Jevil line\n')
  })
})

describe('stats', () => {
  it('sum what the interfaces of a container carried, without lo', () => {
    const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 999       9    0    0    0     0          0         0  999       9    0    0    0     0       0          0
  eth0:1000      10    0    0    0     0          0         0   20       2    0    0    0     0       0          0
  a:b0: 5         1    0    0    0     0          0         0    6       1    0    0    0     0       0          0
`
    expect(sumInterfaces(dev)).toEqual({ received: 1005, sent: 26 })
  })

  it('say -- where nothing counts', () => {
    const row = statsRow({ id: 'ab'.repeat(32), name: 'web', cpuPercent: 150.123 }, false)
    expect(STATS_COLUMNS.map((field) => row[field])).toEqual([
      'abababababab',
      'web',
      '150.12%',
      '-- / --',
      '--',
      '-- / --',
      '-- / --',
      '--',
    ])
    const full = statsRow(
      { id: 'ab', name: 'web', memory: { usage: 3 * 2 ** 20, limit: 2 ** 30 }, network: { received: 1200, sent: 0 } },
      true,
    )
    expect(full).toMatchObject({ MemUsage: '3MiB / 1GiB', MemPerc: '0.29%', NetIO: '1.2kB / 0B' })
  })

  it('are drawn over themselves in one write, never wider or higher than the terminal', () => {
    const writes: string[] = []
    const table = createLiveTable({ write: (text) => writes.push(text), size: () => ({ columns: 6, rows: 3 }) })
    table.draw('A\n1\n2\n3\n')
    table.draw('ABCDEFGH\n1\n')
    table.draw('A\n')
    expect(writes).toEqual([
      '\rA\x1b[K\n1\x1b[K\n\x1b[J',
      '\x1b[2A\rABCDE\x1b[K\n1\x1b[K\n\x1b[J',
      '\x1b[2A\rA\x1b[K\n\x1b[J',
    ])
  })
})
