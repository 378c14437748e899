import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { syscallTable, X32_BIT } from '../../src/security/seccomp/tables.ts'
import { loadLibseccomp } from './security-bpf.ts'

/** name -> number of the `__NR_` macros a header defines for the compiler at hand. */
function headerNumbers(header: string, ...flags: string[]): Map<string, number> {
  const text = execFileSync('cc', ['-E', '-dM', ...flags, '-include', header, '-x', 'c', '/dev/null'], {
    encoding: 'utf8',
  })
  const numbers = new Map<string, number>()
  for (const [, name, value] of text.matchAll(/^#define __NR3?2?6?4?_(\w+) (.*)$/gm)) {
    const plain = /^\(?(?:__X32_SYSCALL_BIT \+ )?(\d+)\)?$/.exec(value ?? '')
    if (plain && name !== undefined) numbers.set(name, Number(plain[1]))
  }
  return numbers
}

describe('system call numbers', () => {
  it('of x86-64, 32-bit x86 and x32 are those of the kernel headers', () => {
    for (const [arch, header, bit] of [
      ['x86_64', 'asm/unistd_64.h', 0],
      ['x86', 'asm/unistd_32.h', 0],
      ['x32', 'asm/unistd_x32.h', X32_BIT],
    ] as const) {
      const known = headerNumbers(header)
      expect(known.size).toBeGreaterThan(340)
      const table = syscallTable(arch)
      for (const [name, number] of known) expect([name, table.get(name)]).toEqual([name, number + bit])
      const newest = Math.max(...[...known.values()].filter((number) => number < 512)) + bit
      const ours = [...table].filter(([, number]) => number <= newest && number !== 335 + bit && number !== 336 + bit)
      for (const [name] of ours) expect([name, known.has(name)]).toEqual([name, true])
    }
  })

  it('of arm64 are those of the generic header', () => {
    const known = headerNumbers(
      'asm-generic/unistd.h',
      '-D__BITS_PER_LONG=64',
      '-D__ARCH_WANT_RENAMEAT',
      '-D__ARCH_WANT_SET_GET_RLIMIT',
      '-D__ARCH_WANT_MEMFD_SECRET',
    )
    const table = syscallTable('aarch64')
    known.delete('syscalls')
    known.delete('arch_specific_syscall')
    for (const [name, number] of known) expect([name, table.get(name)]).toEqual([name, number])
    expect(known.size).toBeGreaterThan(280)
  })

  it.each([
    ['x86_64', 'SCMP_ARCH_X86_64'],
    ['x32', 'SCMP_ARCH_X32'],
    ['aarch64', 'SCMP_ARCH_AARCH64'],
    ['arm', 'SCMP_ARCH_ARM'],
  ] as const)('of %s are those of libseccomp, none missing', (arch, scmp) => {
    const library = loadLibseccomp()
    const table = syscallTable(arch)
    const differing = [...table].filter(([name, number]) => {
      const other = library.number(scmp, name)
      // -1: it has not heard of the call; lower: the call has no number of its own on this ABI.
      return other >= 0 && other !== number
    })
    expect(differing).toEqual([])
    const numbers = Array.from({ length: 600 }, (_, number) => (arch === 'x32' ? number + X32_BIT : number))
    const names = numbers.map((number) => library.nameOf(scmp, number)).filter((name) => name !== null)
    expect(names.length).toBeGreaterThan(250)
    expect(names.filter((name) => !table.has(name))).toEqual([])
  })

  it('are unique but for one call of ARM with two names', () => {
    for (const arch of ['x86_64', 'x86', 'x32', 'aarch64', 'arm'] as const) {
      const numbers = [...syscallTable(arch).values()]
      expect(numbers.length - new Set(numbers).size).toBe(arch === 'arm' ? 1 : 0)
    }
  })
})
