import { GLOBAL_FLAGS, HELP_FLAG } from '../../src/cli/flags/flag.ts'
import { RUN_FLAGS } from '../../src/cli/flags/run.ts'
import { GROUPS } from '../../src/cli/groups.ts'
import { ENTRIES } from '../../src/cli/registry.ts'

/** First words behind `tscrun`. */
export const COMMAND_NAMES: readonly string[] = [...ENTRIES, ...GROUPS].map(({ name }) => name)

/** Long flags that `tscrun run` takes. */
export const RUN_FLAG_NAMES: readonly string[] = [...RUN_FLAGS, ...GLOBAL_FLAGS, HELP_FLAG].flatMap((flag) => [
  flag.name,
  ...(flag.aliases ?? []),
])
