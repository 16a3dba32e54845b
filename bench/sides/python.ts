import type { Side } from '../core/alternate.ts'

/** The sides of peers in Python, where Debian's packages for them are installed, and why others are missing. */
export async function pythonSides(
  _tasks: number,
): Promise<{ readonly openers: readonly (() => Promise<Side>)[]; readonly notes: readonly string[] }> {
  return { openers: [], notes: [] }
}
