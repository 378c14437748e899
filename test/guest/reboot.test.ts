import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type GuestResult, inGuest } from './harness.ts'

/** Two boots of one machine, with a store on a disk that stays; the first one ends without any shutdown. */
const script = (name: string): string => fileURLToPath(new URL(`reboot/${name}.sh`, import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'tscrun-guest-reboot-'))
const disk = join(directory, 'disk')

let second: GuestResult
beforeAll(async () => {
  writeFileSync(disk, '')
  truncateSync(disk, 256 << 20)
  // The power goes while containers are made, after the journal's commit of the names (ext4: 5 s), or before it.
  const seconds = String(2 + (Date.now() % 7))
  const first = await inGuest(['sh', script('first'), seconds], { systemd: true, disks: [disk], timeoutMs: 480_000 })
  if (first.status !== 0) throw new Error(`the first boot: ${first.stdout}\n${first.stderr}`)
  second = await inGuest(['sh', script('second')], {
    systemd: true,
    prepare: script('prepare'),
    disks: [disk],
    timeoutMs: 480_000,
  })
}, 1_000_000)
afterAll(() => rmSync(directory, { recursive: true }))

/** The lines that begin with a word, without it. */
const said = (word: string): string[] =>
  second.stdout.split('\n').flatMap((line) => (line.startsWith(`${word} `) ? [line.slice(word.length + 1).trim()] : []))

it('after a power cut the unit that `generate systemd --all` prints brings up what is to run at boot', () => {
  expect(second.status, `${second.stdout}\n${second.stderr}`).toBe(0)
  expect(said('unit')).toEqual(['active'])
  expect(said('process').toSorted()).toEqual(['always sleep 19320', 'joined sleep 19320', 'unless-stopped sleep 19320'])
  expect(said('lives')).toEqual(['always 2', 'unless-stopped 2', 'on-failure 1', 'no 1', 'no 2'])
})

it('what does not run then is told to have gone down with the machine, or is as it was before', () => {
  const states = said('state').filter((line) => !/^(?:made|renamed|short-detached) /.test(line))
  expect(states.toSorted()).toEqual([
    'always running 0',
    'created created 0',
    'ended exited 3',
    'joined running 0',
    'no exited 255',
    'on-failure exited 255',
    'recent created 0',
    'short exited 0',
    'stopped exited 137',
    'unless-stopped running 0',
  ])
})

it('images and volumes are there, everything can be removed, nothing is left, and a name is free again', () => {
  expect(said('image')).toEqual(['localhost/base:1'])
  expect(said('run')).toEqual(['again'])
  expect(said('left')).toEqual([])
})
