import { mutations } from './list.ts'
import type { Mutation } from './list.ts'
import { commandOf, prove } from './prove.ts'
import type { Proof } from './prove.ts'
import { Tree } from './tree.ts'

/**
 * `npm run chaos:mutations -- [WORD …]`: breaks a copy of the source in one place after another and shows what notices. With
 * words only the mutations whose names hold one of them. Each proof is run on the sound copy first, where it must be green.
 * Exit codes: 0 all were noticed, 1 one was not.
 */

/** What is shown of what went red. */
const shown = 4
const words = process.argv.slice(2)
const chosen = mutations.filter(({ name }) => words.length === 0 || words.some(word => name.includes(word)))
process.exitCode = chosen.length > 0 && (await proveAll(chosen)) ? 0 : 1

async function proveAll(list: readonly Mutation[]): Promise<boolean> {
  using tree = new Tree()
  const sound = new Map<string, Proof>()
  for (const mutation of list) {
    const command = commandOf(mutation).join(' ')
    if (!sound.has(command)) sound.set(command, await prove(tree, mutation))
    if (sound.get(command)?.colour !== 'green') report('the source as it is', sound.get(command), 'should be green')
  }
  let survivors = 0
  for (const mutation of list) {
    const proof = await tree.with(mutation, () => prove(tree, mutation))
    const isNoticed = proof.colour === 'red'
    if (!isNoticed) survivors++
    report(mutation.name, proof, isNoticed ? '' : 'SURVIVED')
  }
  const isSound = [...sound.values()].every(({ colour }) => colour === 'green')
  console.log(
    `${list.length - survivors} of ${list.length} mutations were noticed${isSound ? '' : '; the source as it is was not green'}`,
  )
  return survivors === 0 && isSound
}

function report(name: string, proof: Proof | undefined, remark: string): void {
  const what = proof === undefined || proof.colour === 'green' ? [] : proof.what
  const more = what.length > shown ? `, and ${what.length - shown} more` : ''
  console.log(`${(proof?.colour ?? '').padEnd(6)} ${name}: ${what.slice(0, shown).join('; ')}${more}${remark}`)
}
