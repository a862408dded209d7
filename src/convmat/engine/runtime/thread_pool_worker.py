"""A worker's life as LLVM IR: it takes tasks, sleeps where it says so, and wakes on the CPUs that it was given.

Between dollars stand what `thread_pool_ir` fills in: places in the pool's state, and numbers of Linux.
"""

from __future__ import annotations

WORKER_IR = """\
; Where worker %id says that it sleeps.
define internal ptr @bed(ptr %s, i64 %id) alwaysinline {
  %far = mul i64 %id, $ASLEEP_STRIDE$
  %at = add i64 %far, $ASLEEP$
  %bed = getelementptr i8, ptr %s, i64 %at
  ret ptr %bed
}

; futex(word, FUTEX_WAIT_PRIVATE = 128 | FUTEX_WAKE_PRIVATE = 129, value), through libc's syscall().
define internal void @futex(ptr %s, ptr %word, i32 %operation, i32 %value) {
  %at.call = getelementptr i8, ptr %s, i64 $SYSCALL$
  %call = load ptr, ptr %at.call
  %at.number = getelementptr i8, ptr %s, i64 $FUTEX$
  %number = load i64, ptr %at.number
  %ignored = call i64 (i64, ...) %call(i64 %number, ptr %word, i32 %operation, i32 %value,
    ptr null, ptr null, i32 0)
  ret void
}

; Ask (%ask = 1) which CPUs `thread` (0: the one that calls) may run on, or say so (0). Negative where it is refused.
define internal i64 @settle(ptr %s, i64 %ask, i64 %thread, ptr %cpus) {
entry:
  %at.number = getelementptr i8, ptr %s, i64 $AFFINITY$
  %number = load i64, ptr %at.number
  %unknown = icmp eq i64 %number, 0
  br i1 %unknown, label %out, label %set
set:
  %at.call = getelementptr i8, ptr %s, i64 $SYSCALL$
  %call = load ptr, ptr %at.call
  %which = add i64 %number, %ask
  %said = call i64 (i64, ...) %call(i64 %which, i64 %thread, i64 $CPUS_BYTES$, ptr %cpus)
  ret i64 %said
out:
  ret i64 -1
}

; Copy a set of CPUs.
define internal void @copy(ptr %to, ptr %from) {
entry:
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %each ]
  %at.from = getelementptr i64, ptr %from, i64 %i
  %at.to = getelementptr i64, ptr %to, i64 %i
  %word = load i64, ptr %at.from
  store i64 %word, ptr %at.to
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 16
  br i1 %more, label %each, label %out
out:
  ret void
}

; Whether two sets of CPUs are the same.
define internal i1 @same(ptr %a, ptr %b) {
entry:
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %each ]
  %so.far = phi i64 [ 0, %entry ], [ %differ, %each ]
  %at.a = getelementptr i64, ptr %a, i64 %i
  %at.b = getelementptr i64, ptr %b, i64 %i
  %in.a = load i64, ptr %at.a
  %in.b = load i64, ptr %at.b
  %bits = xor i64 %in.a, %in.b
  %differ = or i64 %so.far, %bits
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 16
  br i1 %more, label %each, label %out
out:
  %equal = icmp eq i64 %differ, 0
  ret i1 %equal
}

; Put back the CPUs that the thread of %bed, which calls, had before a caller moved it; not if others were given since.
define internal void @back(ptr %s, ptr %bed) {
entry:
  %at.moved = getelementptr i8, ptr %bed, i64 $MOVED$
  %was = atomicrmw xchg ptr %at.moved, i32 0 seq_cst, align 4
  %stayed = icmp eq i32 %was, 0
  br i1 %stayed, label %out, label %ask
ask:
  %now = getelementptr i8, ptr %bed, i64 $NOW$
  %given = getelementptr i8, ptr %bed, i64 $GIVEN$
  %said = call i64 @settle(ptr %s, i64 1, i64 0, ptr %now)
  %ours = call i1 @same(ptr %now, ptr %given)
  br i1 %ours, label %set, label %out
set:
  %cpus = getelementptr i8, ptr %bed, i64 $CPUS$
  %done = call i64 @settle(ptr %s, i64 0, i64 0, ptr %cpus)
  br label %out
out:
  ret void
}

; Let the sleeper in %bed run on all of its CPUs but the one we are on. (With one CPU that is none: no change.)
define internal void @elsewhere(ptr %s, ptr %bed) {
entry:
  %at.getcpu = getelementptr i8, ptr %s, i64 $GETCPU$
  %getcpu = load ptr, ptr %at.getcpu
  %unknown = icmp eq ptr %getcpu, null
  br i1 %unknown, label %out, label %ask
ask:
  %at.thread = getelementptr i8, ptr %bed, i64 $THREAD$
  %thread = load i64, ptr %at.thread
  %now = getelementptr i8, ptr %s, i64 $ELSEWHERE$
  %from = getelementptr i8, ptr %bed, i64 $CPUS$
  %to = getelementptr i8, ptr %bed, i64 $GIVEN$
  %at.moved = getelementptr i8, ptr %bed, i64 $MOVED$
  %said = call i64 @settle(ptr %s, i64 1, i64 %thread, ptr %now)
  %told = icmp sgt i64 %said, 0
  br i1 %told, label %compare, label %out
compare:
  ; It may still have what a caller gave it: the set it had before is then the one to put back.
  %was = load atomic i32, ptr %at.moved seq_cst, align 4
  %moved = icmp ne i32 %was, 0
  %given = call i1 @same(ptr %now, ptr %to)
  %known = and i1 %moved, %given
  br i1 %known, label %where, label %note
note:
  call void @copy(ptr %from, ptr %now)
  br label %where
where:
  %cpu32 = call i32 %getcpu()
  %cpu = sext i32 %cpu32 to i64
  %ours = ashr i64 %cpu, 6
  %bit.at = and i64 %cpu, 63
  %bit = shl i64 1, %bit.at
  %keep = xor i64 %bit, -1
  br label %copy
copy:
  %i = phi i64 [ 0, %where ], [ %next, %copy ]
  %at.from = getelementptr i64, ptr %from, i64 %i
  %at.to = getelementptr i64, ptr %to, i64 %i
  %word = load i64, ptr %at.from
  %less = and i64 %word, %keep
  %here = icmp eq i64 %i, %ours
  %new = select i1 %here, i64 %less, i64 %word
  store i64 %new, ptr %at.to
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 16
  br i1 %more, label %copy, label %set
set:
  store atomic i32 1, ptr %at.moved seq_cst, align 4
  %done = call i64 @settle(ptr %s, i64 0, i64 %thread, ptr %to)
  br label %out
out:
  ret void
}

; Take tasks and do them until none is left for %id; returns how many were done.
define internal i64 @drain(ptr %s, i64 %id) {
entry:
  br label %look
look:
  %count = phi i64 [ 0, %entry ], [ %count, %take ], [ %more, %do ]
  %ticket = load atomic i64, ptr %s acquire, align 8
  %left = and i64 %ticket, 281474976710655
  %limit = lshr i64 %ticket, 48
  %some = icmp ne i64 %left, 0
  %allowed = icmp ult i64 %id, %limit
  %mine = and i1 %some, %allowed
  br i1 %mine, label %take, label %out
take:
  %next = add i64 %ticket, -1
  %swap = cmpxchg ptr %s, i64 %ticket, i64 %next acq_rel acquire, align 8
  %won = extractvalue { i64, i1 } %swap, 1
  br i1 %won, label %work, label %look
work:
  %at.fn = getelementptr i8, ptr %s, i64 $FN$
  %fn = load ptr, ptr %at.fn
  %at.args = getelementptr i8, ptr %s, i64 $ARGS$
  %args = load ptr, ptr %at.args
  %at.tasks = getelementptr i8, ptr %s, i64 $TASKS$
  %tasks = load i64, ptr %at.tasks
  %more = add i64 %count, 1
  %caller = icmp eq i64 %id, 0
  br i1 %caller, label %do, label %behind
behind:
  %at.back = getelementptr i8, ptr %s, i64 $BACK$
  %given = atomicrmw add ptr %at.back, i64 1 monotonic, align 8
  %above = sub i64 %tasks, %given
  %last = add i64 %above, -1
  %at.mode = getelementptr i8, ptr %s, i64 $MODE$
  %mode = load i64, ptr %at.mode
  %own = call i64 @mode()
  %same = icmp eq i64 %own, %mode
  br i1 %same, label %do, label %adopt
adopt:
  call void @set_mode(i64 %mode)
  br label %do
do:
  ; Task 0 was the caller's before it came here.
  %index = phi i64 [ %more, %work ], [ %last, %behind ], [ %last, %adopt ]
  call void %fn(ptr %args, i64 %index, i64 %id)
  br label %look
out:
  ret i64 %count
}

; A worker's life. Returns 0 when told to stop; 1 when idle for long and there is no futex to sleep on.
define i64 @worker(ptr %s, i64 %id) {
entry:
  %bed = call ptr @bed(ptr %s, i64 %id)
  %at.done = getelementptr i8, ptr %s, i64 $DONE$
  %at.waiter = getelementptr i8, ptr %s, i64 $WAITER$
  %at.stop = getelementptr i8, ptr %s, i64 $STOP$
  %at.spin = getelementptr i8, ptr %s, i64 $SPIN$
  %at.number = getelementptr i8, ptr %s, i64 $FUTEX$
  br label %awake
awake:
  store atomic i32 0, ptr %bed seq_cst, align 4
  br label %fresh
fresh:
  %start = call i64 @$CLOCK$()
  br label %try
try:
  %done = call i64 @drain(ptr %s, i64 %id)
  %idle = icmp eq i64 %done, 0
  br i1 %idle, label %spin, label %report
report:
  %done32 = trunc i64 %done to i32
  %before = atomicrmw add ptr %at.done, i32 %done32 seq_cst, align 4
  %waiter = load atomic i32, ptr %at.waiter seq_cst, align 4
  %none = icmp eq i32 %waiter, 0
  br i1 %none, label %fresh, label %call
call:
  call void @futex(ptr %s, ptr %at.done, i32 129, i32 1)
  br label %fresh
spin:
  $PAUSE$
  %stop = load atomic i32, ptr %at.stop acquire, align 4
  %go = icmp eq i32 %stop, 0
  br i1 %go, label %time, label %end
time:
  %now = call i64 @$CLOCK$()
  %spent = sub i64 %now, %start
  %budget = load atomic i64, ptr %at.spin monotonic, align 8
  %enough = icmp ugt i64 %spent, %budget
  br i1 %enough, label %tired, label %try
tired:
  ; First say that we sleep, then look once more: a caller first writes the ticket, then looks who sleeps.
  %old = atomicrmw xchg ptr %bed, i32 1 seq_cst, align 4
  %ticket = load atomic i64, ptr %s seq_cst, align 8
  %left = and i64 %ticket, 281474976710655
  %limit = lshr i64 %ticket, 48
  %some = icmp ne i64 %left, 0
  %allowed = icmp ult i64 %id, %limit
  %mine = and i1 %some, %allowed
  br i1 %mine, label %risen, label %sleep
sleep:
  %stop2 = load atomic i32, ptr %at.stop seq_cst, align 4
  %go2 = icmp eq i32 %stop2, 0
  br i1 %go2, label %how, label %end
how:
  %number = load i64, ptr %at.number
  %none.there = icmp eq i64 %number, 0
  br i1 %none.there, label %leave, label %wait
wait:
  call void @futex(ptr %s, ptr %bed, i32 128, i32 1)
  %still = load atomic i32, ptr %bed seq_cst, align 4
  %woken = icmp eq i32 %still, 0
  br i1 %woken, label %risen, label %sleep
risen:
  call void @back(ptr %s, ptr %bed)
  br label %awake
leave:
  ret i64 1
end:
  store atomic i32 0, ptr %bed seq_cst, align 4
  ret i64 0
}

"""
