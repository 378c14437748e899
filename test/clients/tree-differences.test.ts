import { execa } from 'execa'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readDirectory, treeDifferences } from './fixtures/trees.ts'

let work: string
beforeEach(() => {
  work = fs.mkdtempSync(join(tmpdir(), 'tscrun-trees-'))
})
afterEach(() => {
  fs.rmSync(work, { recursive: true })
})

/** Two trees of the same, the second of which a script then changes. */
async function differences(change: string): Promise<readonly string[]> {
  const script = `
    set -e
    cd "$1"
    mkdir one; cd one
    mkdir -p dir/sub; printf abc > dir/a; printf xyz > dir/b; ln dir/a dir/a2; ln dir/b dir/b2
    ln -s a dir/soft; mknod null c 1 3; mkfifo fifo; printf 1 > "$(printf 'b\\377\\nd\\\\')"; : > empty
    for name in . dir/b "$(printf 'b\\377\\nd\\\\')"; do setfattr -n user.note -v text "$name"; done
    find . -exec touch -h -d '2020-02-03 04:05:06.123456789' {} +
    cd ..; cp -a one two; cd two
    ${change}`
  await execa('bash', ['-c', script, 'bash', work])
  return treeDifferences(await readDirectory(join(work, 'one')), await readDirectory(join(work, 'two')))
}

const OLD = "touch -h -d '2020-02-03 04:05:06.123456789'"

describe('trees', () => {
  it('that were copied have no differences', async () => {
    expect(await differences(':')).toEqual([])
  })

  it.each([
    ['a mode', 'chmod 4644 empty', 'empty: mode 644 and 4644'],
    ['an owner', 'chown -h 7:8 dir/soft', 'dir/soft: owner 0:0 and 7:8'],
    [
      'a nanosecond',
      "touch -d '2020-02-03 04:05:06.123456788' fifo",
      'fifo: mtime 1580702706.1234567890 and 1580702706.1234567880',
    ],
    ["a directory's time", "touch -d '@5' dir/sub", 'dir/sub: mtime 1580702706.1234567890 and 5.0000000000'],
    ['the top', 'chmod 700 .', '.: mode 755 and 700'],
    ['the content', `printf aBc > dir/a; ${OLD} dir/a`, /^dir\/a: content ba7816bf\w{56} and \w{64}$/m],
    ['a target', `ln -sfn b dir/soft; ${OLD} dir/soft dir`, 'dir/soft: target a and b'],
    ['a device', `rm null; mknod null c 1 5; ${OLD} null .`, 'null: device 1:3 and 1:5'],
    ['a type', `rm fifo; mknod fifo c 0 0; ${OLD} fifo .`, 'fifo: type p and c, device none and 0:0'],
    ['an attribute', 'setfattr -n user.note -v TEXT dir/b', 'dir/b: xattr user.note 0x74657874 and 0x54455854'],
    ['an attribute too many', 'setfattr -n user.a=b empty', 'empty: xattr user.a=b none and 0x'],
    ['a missing name', `rm empty; ${OLD} .`, 'empty: only in the first'],
    [
      'a name of other bytes',
      `rm empty; : > "$(printf '\\376')"; ${OLD} . "$(printf '\\376')"`,
      '\\xfe: only in the second',
    ],
  ])('that differ by %s are not equal', async (_, change, expected) => {
    const found = await differences(change)
    expect(found.join('\n')).toMatch(expected)
  })

  it('whose files have other names in common are not equal', async () => {
    const change = `rm dir/a2 dir/b2; ln dir/a dir/b2; ln dir/b dir/a2; ${OLD} dir`
    const found = await differences(change)
    expect(found.find((line) => line.startsWith('dir/a2:'))).toContain('one file with dir/a and dir/a2')
    expect(found.find((line) => line.startsWith('dir/b2:'))).toContain('one file with dir/b and dir/a')
  })
})
