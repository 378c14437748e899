/** Extended headers as POSIX has them (pax, Extended Header), made of bytes: names and attributes need not be text. */

const BLOCK = 512

/** A `length key=value` line, whose length counts itself. */
function record(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.of(0x0a)])
  let length = rest.length + 1
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length
  return Buffer.concat([Buffer.from(`${length}`), rest])
}

/** The member that goes before the one it is about: its header, the records, padded to whole blocks. */
export function paxHeader(records: ReadonlyMap<string, Uint8Array>): Buffer {
  const body = Buffer.concat([...records].map(([key, value]) => record(key, value)))
  const header = Buffer.alloc(BLOCK)
  header.write('PaxHeader', 0, 'latin1')
  const octal = (value: number, digits: number, at: number): void =>
    void header.write(value.toString(8).padStart(digits, '0'), at, 'latin1')
  octal(0o644, 7, 100)
  octal(0, 7, 108)
  octal(0, 7, 116)
  octal(body.length, 11, 124)
  octal(0, 11, 136)
  header.write('x', 156, 'latin1')
  header.write('ustar\x0000', 257, 'latin1')
  // The checksum counts its own field as blanks.
  header.fill(0x20, 148, 156)
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    6,
    148,
  )
  header[154] = 0
  return Buffer.concat([header, body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)])
}

/** Seconds with a fraction, as PAX writes times. */
export function paxTime(nanoseconds: bigint): string {
  const second = 1_000_000_000n
  const size = nanoseconds < 0n ? -nanoseconds : nanoseconds
  const fraction = `${size % second}`.padStart(9, '0').replace(/0+$/, '')
  return `${nanoseconds < 0n ? '-' : ''}${size / second}${fraction === '' ? '' : `.${fraction}`}`
}
