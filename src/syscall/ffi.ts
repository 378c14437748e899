import { existsSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type * as koffiModule from 'koffi'
import { TscrunError } from '../model/errors.ts'
import { packageRoot } from './package-root.ts'

/** The few entry points of koffi that tscrun uses (koffi 3). */
export type Koffi = Pick<typeof koffiModule, 'load' | 'address' | 'node'>
type Library = ReturnType<Koffi['load']>

type RawSyscall = (nr: number, ...args: (number | bigint)[]) => number | bigint

let koffi: Koffi | undefined
let raw: RawSyscall | undefined
let library: Library | undefined

/**
 * koffi, loaded on first use. Its `.node` file alone loads in 1 ms where the package takes 6,
 * so that is tried first; any other layout of node_modules still works through the package.
 */
export function loadKoffi(): Koffi {
  if (koffi !== undefined) return koffi
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) {
    throw new TscrunError(
      'UNSUPPORTED_PLATFORM',
      `tscrun needs Linux on x64 or arm64, this is ${process.platform} on ${process.arch}`,
      {
        hint: 'use a Linux machine, a virtual machine or WSL2',
      },
    )
  }
  for (const path of addonCandidates()) {
    try {
      koffi = loadAddon(path)
      return koffi
    } catch (error) {
      if (!isLoadFailure(error)) throw error
    }
  }
  throw new TscrunError('HOST_UNSUPPORTED', `load koffi: no ${process.arch} build of it is installed beside tscrun`, {
    hint: 'install the packages again without --omit=optional (npm ci)',
  })
}

/**
 * Where package managers put koffi's native file: beside tscrun's own packages, or in a node_modules further up, hoisted
 * or (pnpm) behind a link. Looked for by hand, since node:module takes a millisecond to load.
 */
function* addonCandidates(): Generator<string> {
  for (let dir = packageRoot(); ; dir = dirname(dir)) {
    const packages = join(dir, 'node_modules')
    const linked = join(packages, 'koffi')
    const scopes = [packages, ...(dir !== packageRoot() && existsSync(linked) ? [dirname(realpathSync(linked))] : [])]
    for (const scope of scopes) {
      for (const libc of ['linux', 'musl']) {
        yield join(scope, '@koromix', `koffi-linux-${process.arch}`, `${libc}_${process.arch}`, 'koffi.node')
      }
    }
    if (dirname(dir) === dir) return
  }
}

/** dlopen(3): never unmapped. */
const RTLD_NODELETE = 0x1000
const RTLD_LAZY = 1

/**
 * As require() loads a `.node` file, but for good: at the end of a Worker that alone had loaded it, its code would be
 * gone before libuv has called back for the last closed handle (SIGSEGV).
 */
function loadAddon(path: string): Koffi {
  const module: { exports: unknown } = { exports: {} }
  process.dlopen(module, path, RTLD_LAZY | RTLD_NODELETE)
  return module.exports as Koffi
}

/** Not there, or built for the other C library: the next candidate may fit. */
function isLoadFailure(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_DLOPEN_FAILED'
}

/** libtscrun.so, built from native/. */
export function loadLibrary(): Library {
  if (library !== undefined) return library
  const path = nativeFile('libtscrun.so')
  try {
    library = loadKoffi().load(path)
  } catch (error) {
    if (error instanceof TscrunError) throw error
    throw new TscrunError('HOST_UNSUPPORTED', `load ${path}: ${(error as Error).message}`, {
      subject: path,
      hint: 'in a checkout run `npm run build:native`',
      cause: error,
    })
  }
  return library
}

/** Path of one of the files built from native/ for this processor. */
export function nativeFile(name: string): string {
  return join(packageRoot(), 'native', process.arch, name)
}

/** `rawSyscall` if somebody has needed it before; loads nothing. */
export function loadedSyscall(): RawSyscall | undefined {
  return raw
}

/** `ts_syscall` of libtscrun.so: number and up to six register values in, result or -errno out. */
export function rawSyscall(): RawSyscall {
  raw ??= loadLibrary().func(
    'ts_syscall',
    'int64',
    Array.from({ length: 7 }, () => 'int64'),
  ) as unknown as RawSyscall
  return raw
}
