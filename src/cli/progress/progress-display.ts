import { progressBar, progressLine, type ProgressView } from './progress-text.ts'
import { RateMeter } from './rate-meter.ts'

const BAR_EVERY_MS = 100
const LINE_EVERY_MS = 3_000
const HIDE_CURSOR = '\u001B[?25l'
const SHOW_CURSOR = '\u001B[?25h'
const CLEAR_LINE = '\r\u001B[2K'

/** The stream that progress goes to, as far as it matters. */
export interface ProgressStream {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** How far some work is. */
export type Reading = Omit<ProgressView, 'label' | 'perSecond' | 'remainingMs'>

/** Shows how far one piece of work is: on a terminal a bar that is drawn anew in its line, else a line every few seconds. */
export class ProgressDisplay {
  readonly #stream: ProgressStream
  readonly #label: string
  readonly #live: boolean
  readonly #meter = new RateMeter()
  #timer: NodeJS.Timeout | undefined
  #latest: Reading | undefined

  constructor(stream: ProgressStream, label: string, env: NodeJS.ProcessEnv = process.env) {
    this.#stream = stream
    this.#label = label
    this.#live = stream.isTTY === true && env['TERM'] !== 'dumb'
  }

  /** How often a new reading is worth taking, in ms. */
  get readEveryMs(): number {
    return this.#live ? BAR_EVERY_MS : 500
  }

  /** Takes a reading; it is shown when the next line is due. */
  update(reading: Reading): void {
    this.#latest = reading
    this.#meter.note(performance.now(), reading.done)
    if (this.#timer !== undefined) return
    if (this.#live) {
      this.#stream.write(HIDE_CURSOR)
      this.#draw()
    }
    this.#timer = setInterval(
      () => {
        this.#draw()
      },
      this.#live ? BAR_EVERY_MS : LINE_EVERY_MS,
    )
    this.#timer.unref()
  }

  /** Takes the bar away. Safe twice. */
  end(): void {
    if (this.#timer === undefined) return
    clearInterval(this.#timer)
    this.#timer = undefined
    if (this.#live) this.#stream.write(CLEAR_LINE + SHOW_CURSOR)
  }

  #draw(): void {
    if (this.#latest === undefined) return
    const { done, total } = this.#latest
    const view: ProgressView = {
      ...this.#latest,
      label: this.#label,
      perSecond: this.#meter.perSecond(),
      remainingMs: total === undefined ? undefined : this.#meter.remainingMs(total - done),
    }
    this.#stream.write(
      this.#live ? CLEAR_LINE + progressBar(view, this.#stream.columns ?? 80) : `${progressLine(view)}\n`,
    )
  }
}
