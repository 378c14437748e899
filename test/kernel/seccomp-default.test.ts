import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HostArch } from '../../src/security/seccomp/arches.ts'
import { CAPABILITIES, DEFAULT_CAPABILITIES } from '../../src/security/capabilities.ts'
import { compileSeccomp } from '../../src/security/seccomp/compile.ts'
import { compileDefault } from '../../src/security/seccomp/custom.ts'
import { defaultProfile } from '../../src/security/seccomp/default-profile.ts'

/** Loads the filter on its standard input, then makes the calls of its arguments and prints what each came to. */
const PROBE = String.raw`
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __x86_64__
static long compat(long nr, long a) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
  return result;
}
#endif

int main(int argc, char **argv) {
  static struct sock_filter code[4096];
  size_t bytes = fread(code, 1, sizeof code, stdin);
  struct sock_fprog program = { bytes / sizeof code[0], code };
  unsigned flags = strtoul(argv[1], 0, 10);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 2;
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) != 0) {
    printf("load: %s\n", strerrorname_np(errno));
    return 3;
  }
  for (int i = 2; i < argc; i += 1) {
    char *end;
    int old = argv[i][0] == 'c';
    long nr = strtol(argv[i] + old, &end, 0);
    long a[6] = { 0 };
    for (int k = 0; k < 6 && *end == ','; k += 1) a[k] = strtoul(end + 1, &end, 0);
    long result;
#if defined __x86_64__
    if (old) {
      result = compat(nr, a[0]);
      if (result < 0) { errno = -result; result = -1; }
    } else
#endif
      result = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    puts(result == -1 ? strerrorname_np(errno) : "ok");
    fflush(stdout);
  }
  return 0;
}
`

const host = process.arch as HostArch
const X64 = host === 'x64'
/** Numbers of this machine's own ABI (x86-64, arm64), null where there is none. */
const NR = X64
  ? {
      getpid: 39,
      socket: 41,
      clone: 56,
      unshare: 272,
      mount: 165,
      keyctl: 250,
      personality: 135,
      umask: 95,
      chroot: 161,
      setns: 308,
    }
  : {
      getpid: 172,
      socket: 198,
      clone: 220,
      unshare: 97,
      mount: 40,
      keyctl: 219,
      personality: 92,
      umask: 166,
      chroot: 51,
      setns: 268,
    }

describe('the default seccomp filter in the kernel', () => {
  let directory: string

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'seccomp-'))
    writeFileSync(join(directory, 'probe.c'), PROBE)
    execFileSync('cc', ['-O1', '-o', join(directory, 'probe'), join(directory, 'probe.c')])
  })

  afterAll(() => {
    rmSync(directory, { recursive: true })
  })

  function probe(program: Buffer, calls: readonly string[], flags = 4) {
    const { stdout, status, signal } = spawnSync(join(directory, 'probe'), [String(flags), ...calls], {
      input: program,
    })
    return {
      answers: stdout
        .toString()
        .split('\n')
        .filter((line) => line !== ''),
      status,
      signal,
    }
  }

  const filter14 = () => compileDefault(host, DEFAULT_CAPABILITIES, {})

  it('is accepted and lets ordinary calls through', () => {
    const { answers, status } = probe(filter14(), [
      `${NR.getpid}`,
      `${NR.umask},18`,
      `${NR.socket},1,1,0`,
      `${NR.personality},0xffffffff`,
    ])
    expect({ answers, status }).toEqual({ answers: ['ok', 'ok', 'ok', 'ok'], status: 0 })
  })

  it('refuses new namespaces, mounts, key rings and unknown domains with EPERM', () => {
    const calls = [
      `${NR.unshare},0x10000000`,
      `${NR.clone},0x10000011`,
      `${NR.mount}`,
      `${NR.keyctl}`,
      `${NR.personality},0x40000`,
      `${NR.setns}`,
    ]
    expect(probe(filter14(), calls).answers).toEqual(calls.map(() => 'EPERM'))
  })

  it('refuses AF_ALG and AF_VSOCK sockets, also with junk in the half the kernel ignores', () => {
    const families = ['38', '40', '0x100000026', '0xffffffff00000028']
    expect(
      probe(
        filter14(),
        families.map((family) => `${NR.socket},${family},5,0`),
      ).answers,
    ).toEqual(families.map(() => 'EPERM'))
  })

  it('answers ENOSYS to clone3 and to calls nobody has heard of, EPERM to io_uring', () => {
    expect(probe(filter14(), ['435', '600', '425,8,0']).answers).toEqual(['ENOSYS', 'ENOSYS', 'EPERM'])
  })

  it('grants a container with every capability what the kernel then decides itself', () => {
    const { answers } = probe(compileDefault(host, CAPABILITIES, {}), [
      `${NR.unshare},0x80000000`,
      `${NR.chroot}`,
      '435,0,0',
    ])
    expect(answers).toEqual(['EINVAL', 'EFAULT', 'EINVAL'])
  })

  it.runIf(X64)('holds for 32-bit calls from a 64-bit program, and for x32', ({ skip }) => {
    const everything = compileSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_X86'] }, host)
    skip(probe(everything.program, ['c20']).signal !== null, 'this kernel runs no 32-bit programs')
    const calls = ['c20', 'c102,1', 'c102,3', 'c359,38', 'c310,0x10000000', `${0x40000000 + NR.getpid}`]
    expect(probe(filter14(), calls).answers).toEqual(['ok', 'EPERM', 'EFAULT', 'EPERM', 'EPERM', 'ENOSYS'])
  })

  it.runIf(X64)('kills a 32-bit call where the ABI is not listed', () => {
    const profile = { ...defaultProfile(DEFAULT_CAPABILITIES, host), architectures: ['SCMP_ARCH_X86_64'] }
    expect(probe(compileSeccomp(profile, host).program, ['c20'])).toEqual({
      answers: [],
      status: null,
      signal: 'SIGSYS',
    })
  })

  it('is taken with every flag the compiler can give it', () => {
    const flags = ['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW']
    const compiled = compileSeccomp({ ...defaultProfile([], host), flags }, host)
    expect(probe(compiled.program, [`${NR.getpid}`], compiled.flags)).toMatchObject({ answers: ['ok'], status: 0 })
  })
})
