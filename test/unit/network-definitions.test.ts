import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readNetwork } from '../../src/engine/networks/definitions.ts'
import { readUp } from '../../src/engine/networks/host.ts'
import { enginePaths } from '../../src/engine/paths.ts'

let directory: string
const paths = (): ReturnType<typeof enginePaths> =>
  enginePaths({ root: join(directory, 'store'), runRoot: directory }, {})
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-definitions-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

describe('a file of a network', () => {
  it('that is not there says that there is none', () => {
    expect(readNetwork(paths(), 'web')).toBeUndefined()
    expect(readUp(paths())).toBeUndefined()
  })

  it('that cannot be read is no such answer, or another network of its name would be made', () => {
    mkdirSync(join(directory, 'store/networks/web.json'), { recursive: true })
    expect(() => readNetwork(paths(), 'web')).toThrow(/^read \/.*\/networks\/web\.json: EISDIR/)
    rmSync(join(directory, 'store/networks'), { recursive: true })
    writeFileSync(join(directory, 'store/networks'), '')
    expect(() => readNetwork(paths(), 'web')).toThrow(/^read \/.*\/networks\/web\.json: ENOTDIR/)
    mkdirSync(join(directory, 'networks.json'))
    expect(() => readUp(paths())).toThrow(/^EISDIR/)
  })

  it('that is not whole is an error where it is a definition, and none where the machine can be looked at again', () => {
    mkdirSync(join(directory, 'store/networks'), { recursive: true })
    for (const file of ['store/networks/web.json', 'networks.json']) writeFileSync(join(directory, file), '{"id":')
    expect(() => readNetwork(paths(), 'web')).toThrow(/^read \/.*\/networks\/web\.json: .*JSON/)
    expect(readUp(paths())).toBeUndefined()
  })
})
