import type { Event } from '../events.ts'

/** Something that must not be, with the events that show it. */
export interface Violation {
  readonly rule: Rule
  readonly what: string
  readonly events: readonly Event[]
}

export type Rule =
  /** A job had no end, or not each of its tasks one result. */
  | 'lost'
  /** A driver saw a task's result twice, or results out of order. */
  | 'delivered twice'
  /** A result is not the task's value. */
  | 'wrong value'
  /** A result of a task that never ran, or that left no effect. */
  | 'never attempted'
  /** Redis accepted a task twice in one history. */
  | 'submitted twice'
  /** A thread was given a task that no driver had submitted. */
  | 'never submitted'
  /** A task was committed twice in one history of Redis. */
  | 'double commit'
  /** Two threads were given the same claim: its name is no fence. */
  | 'claim used twice'
  /** A thread committed a result that it had not worked out under that claim. */
  | 'committed without effect'
  /** Redis was full, and did not take results. */
  | 'commit refused'
  /** A worker that was declared dead committed what it had held. */
  | 'late commit accepted'
  /** A reduction is not what its values come to, or was handed out twice. */
  | 'wrong aggregate'
  /** A job ended with an error that nothing explains. */
  | 'unexplained error'
  /** A task was charged, or set aside, for what others did. */
  | 'charged wrongly'
  /** A task ran again although its worker lived. */
  | 'ran twice'
  /** Something of the run is still in Redis. */
  | 'left over'
  /** A process ended, or went on, that should not have. */
  | 'process'
  /** Nothing happened of what was to be proved harmless. */
  | 'vacuous'
