// SPDX-License-Identifier: Apache-2.0
/** A bound that callers wait at, in the order in which they came. */

interface Turn {
  amount: number;
  enter: () => void;
  fail: (error: unknown) => void;
}

/** Lets in as much as `maximum`, and one that is larger when nothing else is inside. */
export class Gate {
  inside = 0;
  private waiting: Turn[] = [];
  private failure: Error | null = null;

  constructor(readonly maximum: number) {}

  /** Whether the bound is reached. */
  get isFull(): boolean {
    return this.inside >= this.maximum;
  }

  /** Waits for room and takes it. Rejects with what `fail` was given, and with the signal's reason. */
  enter(amount = 1, signal?: AbortSignal): Promise<void> {
    if (this.failure !== null) return Promise.reject(this.failure);
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    if (this.waiting.length === 0 && this.fits(amount)) {
      this.inside += amount;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const leave = (): void => signal?.removeEventListener("abort", aborted);
      const turn: Turn = {
        amount,
        enter: () => (leave(), resolve()),
        fail: (error) => (leave(), reject(error as Error)),
      };
      const aborted = (): void => {
        this.waiting = this.waiting.filter((each) => each !== turn);
        turn.fail(signal?.reason);
        this.letIn();
      };
      signal?.addEventListener("abort", aborted);
      this.waiting.push(turn);
    });
  }

  /** Takes room whether or not there is any. */
  force(amount: number): void {
    this.inside += amount;
  }

  /** Gives room back. */
  leave(amount = 1): void {
    this.inside -= amount;
    this.letIn();
  }

  /** Turns everybody away who waits, and everybody who comes. */
  fail(failure: Error): void {
    this.failure = failure;
    for (const turn of this.waiting.splice(0)) turn.fail(failure);
  }

  private fits(amount: number): boolean {
    return this.inside === 0 || this.inside + amount <= this.maximum;
  }

  private letIn(): void {
    for (let turn = this.waiting[0]; turn !== undefined && this.fits(turn.amount); turn = this.waiting[0]) {
      this.waiting.shift();
      this.inside += turn.amount;
      turn.enter();
    }
  }
}
