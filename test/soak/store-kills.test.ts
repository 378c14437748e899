import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openImageStore } from '../../src/images/store.ts'
import { type ImageVerdict, verifyImages } from '../../src/images/verify/image.ts'
import { busyboxMembers, makeImage, pushImages } from '../clients/fixtures/images.ts'
import { startRegistry, type TestRegistry } from '../clients/fixtures/registry.ts'
import { useMachine } from '../kernel/fixtures/machine.ts'
import { randomOf, soakOf } from '../setup/soak.ts'

/** `pull` and `rmi` are killed by SIGKILL at any moment: whatever is listed then is whole, to the last file. */
const { count: rounds, seed } = soakOf('store_kills', 8)

const machine = useMachine()
let registry: TestRegistry
const images: string[] = []
beforeAll(async () => {
  registry = await startRegistry()
  const members = Array.from({ length: 300 }, (_, i) => ({ name: `lib/file${i}`, content: randomBytes(4000) }))
  const large = [{ name: 'large', content: randomBytes(6 << 20) }]
  const shared = [busyboxMembers(), members]
  for (const [i, layers] of [
    [...shared, large],
    [...shared, [{ name: 'bin/.wh.env', content: '' }]],
  ].entries()) {
    images.push(await pushImages(registry.host, `kills:${i}`, [await makeImage({ layers })]))
  }
})
afterAll(async () => {
  await registry.stop()
})

async function verdicts(): Promise<readonly ImageVerdict[]> {
  const store = openImageStore({ root: machine.store })
  const found: ImageVerdict[] = []
  for await (const verdict of verifyImages(store.paths, store.entries(), { deep: true })) found.push(verdict)
  return found
}

async function out(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.tscrun(args)
  expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: '' })
  return stdout
}

it(`leaves a store in which every image is whole, ${rounds} times`, async () => {
  const random = randomOf(seed)
  const pick = (below: number): number => Math.floor(random() * below)
  for (const image of images) await out('pull', '-q', '--tls-verify=false', image)
  // How long one takes here and now: a kill falls somewhere in it.
  const spanMs = { rmi: 300, pull: 300 }
  let killed = 0
  for (let round = 0; round < rounds; round++) {
    const image = images[pick(images.length)] ?? ''
    const { exitCode: isMissing } = await machine.tscrun(['image', 'exists', image])
    const verb = isMissing === 0 && pick(8) > 0 ? 'rmi' : 'pull'
    const args = verb === 'rmi' ? ['rmi', '-f', image] : ['pull', '-q', '--tls-verify=false', image]
    const running = machine.tscrun(args)
    const began = performance.now()
    const delayMs = pick(Math.round(spanMs[verb]))
    await Promise.race([sleep(delayMs), running])
    running.kill('SIGKILL')
    const { isTerminated, exitCode, stderr } = await running
    const tookMs = performance.now() - began
    // One that was faster shortens what the next ones are given, one that was not lengthens it a little.
    spanMs[verb] = isTerminated ? spanMs[verb] * 1.1 : (spanMs[verb] + tookMs) / 2
    if (isTerminated) killed++
    else expect(exitCode === 0 || /not in the store/.test(stderr), stderr).toBe(true)
    for (const { names, findings } of await verdicts()) {
      expect(findings, `round ${round}: ${args.join(' ')} after ${delayMs} ms, ${names.join()}; seed ${seed}`).toEqual(
        [],
      )
    }
  }
  // Of a few rounds most may have been faster, where everything was there already.
  expect(killed).toBeGreaterThan(rounds < 100 ? 0 : rounds / 4)
  // What is left over is found, taken away, and in nobody's way.
  await machine.tscrun(['system', 'check', '--repair'])
  expect(await out('system', 'check')).toBe('Nothing is wrong\n')
  for (const image of images) await out('pull', '-q', '--tls-verify=false', image)
  expect((await verdicts()).flatMap(({ findings }) => findings)).toEqual([])
  expect(await out('run', '--rm', '--pull', 'never', images[0] ?? '', 'echo', 'runs')).toBe('runs\n')
})
