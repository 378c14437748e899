import type { RuntimeCommands } from './dispatch.ts'

/** Each verb in a file of its own, loaded when it is called: every call costs its caller a start of Node. */
export const VERBS: RuntimeCommands = {
  create: async () => (await import('./commands/create.ts')).create,
  start: async () => (await import('./commands/start.ts')).start,
  state: async () => (await import('./commands/state.ts')).state,
  kill: async () => (await import('./commands/kill.ts')).kill,
  delete: async () => (await import('./commands/delete.ts')).remove,
  run: async () => (await import('./commands/run.ts')).run,
  exec: async () => (await import('./commands/exec.ts')).exec,
  pause: async () => (await import('./commands/pause.ts')).pause,
  resume: async () => (await import('./commands/pause.ts')).resume,
  ps: async () => (await import('./commands/ps.ts')).ps,
  list: async () => (await import('./commands/list.ts')).list,
  update: async () => (await import('./commands/update.ts')).update,
  events: async () => (await import('./commands/events.ts')).events,
  features: async () => (await import('./commands/features.ts')).featuresCommand,
  spec: async () => (await import('./commands/spec.ts')).spec,
  plan: async () => (await import('./commands/plan.ts')).plan,
  checkpoint: async () => (await import('./commands/checkpoint.ts')).checkpoint,
  restore: async () => (await import('./commands/checkpoint.ts')).restore,
}
