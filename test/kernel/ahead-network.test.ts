import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { execa } from 'execa'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { useHostNetwork } from './fixtures/host-network.ts'
import { expectNothingLeft, PROJECT, until, useMachine } from './fixtures/machine.ts'

const machine = useMachine()
const net = useHostNetwork(machine)

/**
 * The library in a process on that host: for each line starts so many containers at once, lets all of them show what they
 * see while all run, and answers with that, with what `inspect` says of each, and with whether anything was decided for it:
 * the labels of a call are read once for their kind, once to see what it asks for, and once more for a record that is not
 * there yet.
 */
const PROGRAM = `
import { once } from 'node:events'
import { createInterface } from 'node:readline'
const { createEngine } = await import(${JSON.stringify(join(PROJECT, 'dist/index.js'))})
const [root, runRoot, path] = process.argv.slice(2)
const engine = createEngine({ root, runRoot })
const begin = async ({ network, script }) => {
  let reads = 0
  const labels = { get called() { return String(Math.sign(++reads)) } }
  const handle = engine.run(undefined, ['sh', '-c', script + '; echo end; cat'], { rootfs: { path, overlay: true }, network, labels, stdin: true })
  handle.catch(() => undefined)
  let shown = ''
  handle.stdout.on('data', (text) => (shown += text))
  while (!shown.endsWith('end\\n')) await Promise.race([once(handle.stdout, 'data'), handle])
  const foreseen = reads === 2
  const id = /^id ([0-9a-f]{12})$/m.exec(shown)[1]
  return { handle, answer: { shown, foreseen, id, inspected: await engine.inspect(id) } }
}
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
for (let line = await lines.next(); !line.done; line = await lines.next()) {
  const { count = 1, wait = false, ...asked } = JSON.parse(line.value)
  const begun = await Promise.allSettled(Array.from({ length: count }, () => begin(asked)))
  if (wait) {
    console.log('up')
    await lines.next()
  }
  for (const { value } of begun) value?.handle.stdin.end()
  for (const { value } of begun) await value?.handle
  console.log(JSON.stringify(begun.map(({ value, reason }) => value?.answer ?? { error: reason.code })))
}
`

interface Answer {
  readonly shown: string
  /** Nothing was decided for it. */
  readonly foreseen: boolean
  readonly id: string
  readonly inspected: Inspected
  readonly error?: string
}

interface Inspected {
  readonly Id: string
  readonly NetworkSettings: {
    readonly Networks: Readonly<Record<string, { IPAddress: string; MacAddress: string; GlobalIPv6Address: string }>>
  }
}

interface Asked {
  readonly network?: unknown
  readonly script?: string
  readonly count?: number
}

const LOOK = 'echo id $(hostname); ip -o addr show eth0; cat /sys/class/net/eth0/address /etc/hosts; ip route'

function startProgram() {
  const path = join(machine.directory, 'program.mjs')
  writeFileSync(path, PROGRAM)
  const [command, ...args] = [...net.enter, process.execPath, path, machine.store, machine.runRoot, machine.rootfs]
  const child = execa(command, args, {
    reject: false,
    buffer: false,
    stderr: 'inherit',
    // What keeps other tests off this machine's network is not needed there.
    env: { TSCRUN_NETWORK: undefined },
  })
  const lines = createInterface({ input: child.stdout })
  const next = async (): Promise<string> => String((await once(lines, 'line'))[0])
  const run = async ({ script = LOOK, ...asked }: Asked = {}): Promise<Answer[]> => {
    const answer = next()
    child.stdin.write(`${JSON.stringify({ script, ...asked })}\n`)
    return JSON.parse(await answer) as Answer[]
  }
  return {
    run,
    /** While it runs, `action` is done. */
    during: async (asked: Asked, action: (id: string) => Promise<void>): Promise<Answer> => {
      const up = next()
      child.stdin.write(`${JSON.stringify({ script: LOOK, ...asked, wait: true })}\n`)
      await up
      const [id = ''] = machine.containers().filter((name) => /^[0-9a-f]{64}$/.test(name) && !known.has(name))
      await action(id)
      const answer = next()
      child.stdin.write('\n')
      const [first] = JSON.parse(await answer) as Answer[]
      return first as Answer
    },
    /** Until one of so many was foreseen: a machine that is busy may have had no time to begin the next one. */
    untilForeseen: async (asked: Asked = {}): Promise<Answer[]> => {
      for (;;) {
        const answers = await run(asked)
        expect(answers.map(({ error }) => error)).toEqual(answers.map(() => undefined))
        for (const answer of answers) expectTrue(answer)
        if (answers.some(({ foreseen }) => foreseen)) return answers
      }
    },
    end: async () => {
      child.stdin.end()
      expect(await child).toMatchObject({ exitCode: 0 })
    },
  }
}

/** Containers of a test's own, which run beside the program's. */
const known = new Set<string>()

/** What a container sees of its network is what its record says, and is its own. */
function expectTrue({ shown, id, inspected }: Answer): void {
  const [found] = Object.values(inspected.NetworkSettings.Networks)
  if (found === undefined) throw new Error(`no network: ${JSON.stringify(inspected)}`)
  const { IPAddress, GlobalIPv6Address, MacAddress } = found
  expect(inspected.Id.slice(0, 12)).toBe(id)
  expect(shown).toContain(` inet ${IPAddress}/`)
  if (GlobalIPv6Address !== '') expect(shown).toContain(` inet6 ${GlobalIPv6Address}/`)
  expect(shown.split('\n')).toContain(MacAddress)
  expect(shown).toMatch(new RegExp(`^${IPAddress.replaceAll('.', '\\.')}\\s.*\\b${id}\\b`, 'm'))
}

const addressOf = ({ inspected }: Answer): string =>
  Object.values(inspected.NetworkSettings.Networks)[0]?.IPAddress ?? ''

const leases = (): string[] => {
  const directory = join(machine.store, 'leases')
  return readdirSync(directory).flatMap((network) => readdirSync(join(directory, network)))
}

/** In its own words: exit code 0. */
async function must(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await net.tscrun(args)
  expect({ exitCode, errors: stderr.replaceAll(/^tscrun: warning: .*\n/gm, '') }).toEqual({ exitCode: 0, errors: '' })
  return stdout.trim()
}

let program: ReturnType<typeof startProgram>
beforeAll(async () => {
  await must('network', 'create', 'mine')
})
beforeEach(() => {
  program = startProgram()
  return async () => {
    await program.end()
    await until(() => leases().length === 0)
    while (/^tv/m.test(await net.host('ip -br link'))) await net.host('sleep 0.02')
    expectNothingLeft({ ...machine, runRoot: join(machine.runRoot, 'containers') })
  }
})

describe('a start with a network that is like those before', () => {
  it.each([
    ['the default one', undefined],
    ['the default one by its name', 'bridge'],
    [
      'one of a user, with an alias and a rate',
      { networks: [{ name: 'mine', aliases: ['other'], rate: { out: 1e6 } }] },
    ],
  ])('is foreseen in %s, with the addresses that it has', async (_, network) => {
    const seen: string[] = []
    for (let round = 0; round < 3; round++) {
      const [answer] = await program.untilForeseen({ network })
      expect(answer?.shown).toContain('default via ')
      seen.push(addressOf(answer as Answer))
    }
    // They are not one and the same container's; in a network of 253 addresses two of three may agree by chance.
    expect(new Set(seen).size).toBeGreaterThan(1)
  })

  it('has an address that no other one has, however many run at once', async () => {
    for (let round = 0; round < 3; round++) {
      const answers = await program.untilForeseen({ count: 8 })
      expect(new Set(answers.map(addressOf)).size).toBe(8)
    }
  })

  it('is found by its name, and finds others', async () => {
    const network = { networks: [{ name: 'mine' }] }
    const root = ['--rootfs', `${machine.rootfs}:O`]
    known.add(await must('run', '-d', '--network', 'mine', '--name', 'db', ...root, 'sleep', '19320'))
    const script = `${LOOK}; nslookup db`
    await program.untilForeseen({ network, script })
    let seen: Answer
    do {
      seen = await program.during({ network, script }, async (id) => {
        expect(await must('exec', 'db', 'nslookup', id.slice(0, 12))).toMatch(/^Address.* 10\./m)
      })
      expect(seen.shown).toMatch(/^Name:\s+db/m)
    } while (!seen.foreseen)
    await must('rm', '-f', '-t', '0', 'db')
    known.clear()
  })
})

describe('what was begun in a network', () => {
  it('is not what is started where the bridge has gone meanwhile: it is made again', async () => {
    const script = `${LOOK}; ping -c 1 -W 3 $(ip route | sed -n "s/default via \\([0-9.]*\\) .*/\\1/p")`
    await program.untilForeseen({ script })
    await net.host('ip link del tscrun0')
    const [answer] = await program.run({ script })
    expect(answer).toMatchObject({ foreseen: false, shown: expect.stringContaining('1 packets received') as string })
    expectTrue(answer as Answer)
    await program.untilForeseen({ script })
  })

  it('is not what is started where another network has its name: its address is one of that', async () => {
    const network = { networks: [{ name: 'often' }] }
    await must('network', 'create', '--subnet', '10.201.0.0/24', 'often')
    await program.untilForeseen({ network })
    await must('network', 'rm', 'often')
    await must('network', 'create', '--subnet', '10.202.0.0/24', 'often')
    const [answer] = await program.run({ network })
    expect(answer?.foreseen).toBe(false)
    expect(addressOf(answer as Answer)).toMatch(/^10\.202\.0\./)
    expectTrue(answer as Answer)
    await program.untilForeseen({ network })
    await must('network', 'rm', 'often')
    expect(await program.run({ network })).toEqual([{ error: 'NO_SUCH_NETWORK' }])
  })

  it('is not what is started where the run directory was emptied, or what is said there of bridges', async () => {
    await program.untilForeseen()
    await net.host(`rm ${join(machine.runRoot, 'networks.json')}`)
    const [answer] = await program.run()
    expect(answer?.foreseen).toBe(false)
    expectTrue(answer as Answer)
    await program.untilForeseen()
  })
})
