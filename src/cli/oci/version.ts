import { VERSION } from '../../model/version.ts'
import { OCI_VERSION } from '../../spec/features.ts'
import { print } from '../output/print.ts'

/** The lines that docker and go-runc look for: `NAME version X`, `commit: Y`, `spec: Z`. */
export function printVersion(): number {
  print(`tscrun-runtime version ${VERSION}\ncommit: v${VERSION}\nspec: ${OCI_VERSION.max}\nnode: ${process.version}\n`)
  return 0
}
