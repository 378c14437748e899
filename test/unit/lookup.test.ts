import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readInLayers } from '../../src/rootfs/lookup.ts'
import { cString, syscall } from '../../src/syscall/call.ts'

let directory = ''
let layers: string[] = []
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tscrun-lookup-'))
  layers = ['bottom', 'middle', 'top'].map((name) => join(directory, name))
  for (const layer of layers) mkdirSync(layer)
  writeFileSync(join(directory, 'secret'), 'of the host')
})
afterEach(() => rmSync(directory, { recursive: true }))

function put(layer: number, path: string, content: string): void {
  const whole = join(layers[layer] ?? '', path)
  mkdirSync(join(whole, '..'), { recursive: true })
  writeFileSync(whole, content)
}

function link(layer: number, path: string, target: string): void {
  const whole = join(layers[layer] ?? '', path)
  mkdirSync(join(whole, '..'), { recursive: true })
  symlinkSync(target, whole)
}

const read = (path: string, maxBytes = 1000): string | undefined => readInLayers(layers, path, maxBytes)?.toString()

describe('a file of a stack of layers', () => {
  it('is the topmost one', () => {
    put(0, 'etc/passwd', 'bottom')
    put(1, 'etc/passwd', 'middle')
    put(2, 'etc/group', 'top')
    expect([read('/etc/passwd'), read('etc/passwd'), read('/etc/../etc/./passwd'), read('/etc/group')]).toEqual([
      'middle',
      'middle',
      'middle',
      'top',
    ])
  })

  it('is not there where no layer has it, where it is a directory, or below a file', () => {
    put(0, 'etc/passwd', 'x')
    expect([read('/absent'), read('/etc'), read('/'), read('/etc/passwd/x'), read('/etc/passwd/')]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      'x',
    ])
  })

  it('is hidden by a file where a directory was', () => {
    put(0, 'etc/passwd', 'bottom')
    put(1, 'etc', 'a file')
    expect(read('/etc/passwd')).toBeUndefined()
  })

  it('shows a directory again above a file', () => {
    put(0, 'etc/passwd', 'bottom')
    put(1, 'etc', 'a file')
    put(2, 'etc/passwd', 'top')
    expect(read('/etc/passwd')).toBe('top')
  })

  it('is refused where it is larger than allowed, before it is read', () => {
    put(0, 'etc/passwd', 'x'.repeat(1001))
    expect(() => read('/etc/passwd')).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
    expect(read('/etc/passwd', 1001)?.length).toBe(1001)
  })

  it('leaves no descriptors open', () => {
    put(0, 'a/b/c', 'x')
    link(1, 'l', 'a/b/c')
    const before = readdirSync('/proc/self/fd').length
    for (const path of ['/a/b/c', '/l', '/absent', '/a/b', '/a/b/c/d']) read(path)
    expect(() => read('/a/b/c', 0)).toThrow(/at most 0/)
    expect(readdirSync('/proc/self/fd').length).toBe(before)
  })
})

describe('links', () => {
  it('are followed inside of the stack, across layers', () => {
    put(0, 'usr/lib/passwd', 'found')
    link(1, 'etc/passwd', '../usr/lib/passwd')
    link(2, 'absolute', '/etc/passwd')
    link(2, 'dir', 'usr/lib')
    expect([read('/etc/passwd'), read('/absolute'), read('/dir/passwd')]).toEqual(['found', 'found', 'found'])
  })

  it.each(['../../../../../../../..', '/'])('never lead outside: by %s', (up) => {
    link(0, 'etc/passwd', `${up}${directory}/secret`)
    link(0, 'dir', `${up}${directory}`)
    expect([read('/etc/passwd'), read('/dir/secret')]).toEqual([undefined, undefined])
  })

  it('through /proc are plain names in here', () => {
    link(0, 'etc/passwd', '/proc/self/root/etc/passwd')
    expect(read('/etc/passwd')).toBeUndefined()
  })

  it('in a circle, or too many, end', () => {
    link(0, 'a', 'b')
    link(0, 'b', 'a')
    link(0, 'self', 'self')
    for (let index = 0; index < 60; index++) link(0, `n${index}`, `n${index + 1}`)
    put(0, 'n60', 'far')
    expect([read('/a'), read('/self'), read('/n0'), read('/n30')]).toEqual([undefined, undefined, undefined, 'far'])
  })
})

describe('what is no regular file', () => {
  it('is not there, and not waited for', () => {
    mkdirSync(join(layers[0] ?? '', 'etc'))
    execFileSync('mkfifo', [join(layers[0] ?? '', 'etc/passwd')])
    expect(read('/etc/passwd')).toBeUndefined()
  })
})

describe.runIf(process.getuid?.() === 0)('as root, who can make them', () => {
  it('a whiteout hides what lies below it, and a file above it shows again', () => {
    put(0, 'etc/passwd', 'bottom')
    mkdirSync(join(layers[1] ?? '', 'etc'))
    execFileSync('mknod', [join(layers[1] ?? '', 'etc/passwd'), 'c', '0', '0'])
    expect(read('/etc/passwd')).toBeUndefined()
    put(2, 'etc/passwd', 'top')
    expect(read('/etc/passwd')).toBe('top')
  })

  it('an opaque directory hides all below it, of which it has the same name', () => {
    put(0, 'etc/passwd', 'bottom')
    put(1, 'etc/group', 'middle')
    syscall('lsetxattr', [cString(join(layers[1] ?? '', 'etc')), cString('trusted.overlay.opaque'), cString('y'), 1, 0])
    expect([read('/etc/passwd'), read('/etc/group')]).toEqual([undefined, 'middle'])
  })
})
