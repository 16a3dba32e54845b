import type { Commit, Loss } from './story.ts'

/** Which of Redis's histories the call certainly ran in. */
export function historyOf(
  { invokedAt, answeredAt }: Pick<Commit, 'invokedAt' | 'answeredAt'>,
  losses: readonly Loss[],
): number | undefined {
  if (answeredAt === undefined) return undefined
  const before = losses.filter(({ beginsAt }) => beginsAt < invokedAt).length
  const after = losses.filter(({ endsAt }) => endsAt > answeredAt).length
  return before + after === losses.length ? before : undefined
}
