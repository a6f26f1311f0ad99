//! CPU exceptions: printed, and then the machine ends with status [`EXCEPTION`](crate::EXCEPTION).
//!
//! Every gate has a stack of its own (IST): a stack overflow must not fault again while it is reported, and code that
//! uses the red zone below its stack pointer must find it untouched should a later handler return. Stack 0 is for
//! exceptions, stack 1 for double faults; stacks 2 to 6 are free for interrupts. These handlers do not return, so they
//! save no FPU state; handlers that do must.

use crate::{console, exit, paging};
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};
use spin::Once;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::control::Cr2;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::idt::{EntryOptions, InterruptDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

const EXCEPTION_STACK: u16 = 0;
const DOUBLE_FAULT_STACK: u16 = 1;
const STACK_BYTES: usize = 16 * 1024;

/// A stack for the CPU. Rust never makes a reference into it.
#[repr(C, align(16))]
struct Stack(UnsafeCell<[u8; STACK_BYTES]>);

// SAFETY: only the CPU uses it, one handler at a time: interrupts are off in handlers, and an exception within an
// exception starts the stack again only because the first handler will not go on.
unsafe impl Sync for Stack {}

impl Stack {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; STACK_BYTES]))
    }

    fn top(&'static self) -> VirtAddr {
        VirtAddr::from_ptr(self.0.get()) + STACK_BYTES as u64
    }
}

static EXCEPTION_STACK_MEMORY: Stack = Stack::new();
static DOUBLE_FAULT_STACK_MEMORY: Stack = Stack::new();

/// What the entry code below leaves on the stack, lowest address first.
#[repr(C)]
struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// The gate of an exception for which the CPU pushes no error code.
#[unsafe(naked)]
extern "C" fn plain<const VECTOR: u8>() {
    naked_asm!("push 0", "push {vector}", "jmp {common}", vector = const VECTOR, common = sym common)
}

/// The gate of an exception for which the CPU pushes an error code.
#[unsafe(naked)]
extern "C" fn with_code<const VECTOR: u8>() {
    naked_asm!("push {vector}", "jmp {common}", vector = const VECTOR, common = sym common)
}

#[unsafe(naked)]
extern "C" fn common() {
    // Seven words of the CPU and the gate, fifteen registers: 22 words, so the stack stays aligned to 16 bytes.
    naked_asm!(
        "push rax", "push rbx", "push rcx", "push rdx", "push rsi", "push rdi", "push rbp",
        "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14", "push r15",
        "cld",
        "mov rdi, rsp",
        "call {report}",
        "ud2",
        report = sym report,
    )
}

extern "C" fn report(frame: &Frame) -> ! {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    if REPORTED.swap(true, Ordering::Relaxed) {
        console::emergency(format_args!("another exception ({}) while that was reported\n", frame.vector));
        exit::exit(exit::EXCEPTION);
    }
    let Frame { rip, cs, rflags, rsp, ss, rax, rbx, rcx, rdx, rsi, rdi, rbp, .. } = frame;
    let Frame { r8, r9, r10, r11, r12, r13, r14, r15, vector, error_code, .. } = frame;
    let name = NAMES.get(*vector as usize).copied().unwrap_or("reserved");
    let cr2 = Cr2::read_raw();
    let comment = match *vector {
        14 | 8 if paging::is_stack_guard(cr2) => ": STACK OVERFLOW",
        14 if cr2 < 4096 => ": null pointer",
        _ => "",
    };
    console::emergency(format_args!(
        "exception {vector} ({name}){comment} at rip {rip:#x}, error code {error_code:#x}, cr2 {cr2:#x}\n\
         rsp {rsp:016x}  rbp {rbp:016x}  rflags {rflags:x}  cs {cs:x}  ss {ss:x}\n\
         rax {rax:016x}  rbx {rbx:016x}  rcx {rcx:016x}  rdx {rdx:016x}\n\
         rsi {rsi:016x}  rdi {rdi:016x}   r8 {r8:016x}   r9 {r9:016x}\n\
         r10 {r10:016x}  r11 {r11:016x}  r12 {r12:016x}  r13 {r13:016x}\n\
         r14 {r14:016x}  r15 {r15:016x}\n"
    ));
    exit::exit(exit::EXCEPTION)
}

const NAMES: [&str; 22] = [
    "divide error",
    "debug",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "reserved",
    "invalid TSS",
    "segment not present",
    "stack segment fault",
    "general protection fault",
    "page fault",
    "reserved",
    "x87 floating point",
    "alignment check",
    "machine check",
    "SIMD floating point",
    "virtualization",
    "control protection",
];

/// Loads the descriptor tables.
pub(crate) fn init() {
    static TSS: Once<TaskStateSegment> = Once::new();
    static GDT: Once<GlobalDescriptorTable> = Once::new();
    static IDT: Once<InterruptDescriptorTable> = Once::new();

    let tss = TSS.call_once(|| {
        let mut tss = TaskStateSegment::new();
        tss.interrupt_stack_table[usize::from(EXCEPTION_STACK)] = EXCEPTION_STACK_MEMORY.top();
        tss.interrupt_stack_table[usize::from(DOUBLE_FAULT_STACK)] = DOUBLE_FAULT_STACK_MEMORY.top();
        tss
    });
    // The same selectors as in the entry code: 0x08 code, 0x10 data; then 0x18 the task state.
    let mut selectors = None;
    let gdt = GDT.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        let code = gdt.append(Descriptor::kernel_code_segment());
        let data = gdt.append(Descriptor::kernel_data_segment());
        selectors = Some((code, data, gdt.append(Descriptor::tss_segment(tss))));
        gdt
    });
    let (code, data, task) = selectors.expect("this is called once");
    gdt.load();
    // SAFETY: the selectors belong to the table just loaded, and to the kinds of segments that these registers need;
    // the segments are flat, as before. The task state is loaded once and lives for ever.
    unsafe {
        CS::set_reg(code);
        DS::set_reg(data);
        ES::set_reg(data);
        SS::set_reg(data);
        load_tss(task);
    }
    IDT.call_once(exception_gates).load();
}

/// The gates of all exceptions. Vectors from 32 on are free for interrupts.
fn exception_gates() -> InterruptDescriptorTable {
    let mut idt = InterruptDescriptorTable::new();
    macro_rules! gates {
        ($($gate:ident, $stub:ident, $vector:literal;)*) => {$(
            let address = VirtAddr::from_ptr($stub::<$vector> as *const ());
            // SAFETY: the stub expects what the CPU pushes for this vector (an error code or none), and does not return.
            let options = unsafe { idt.$gate.set_handler_addr(address) };
            use_stack(options, if $vector == 8 { DOUBLE_FAULT_STACK } else { EXCEPTION_STACK });
        )*};
    }
    gates! {
        divide_error, plain, 0;
        debug, plain, 1;
        non_maskable_interrupt, plain, 2;
        breakpoint, plain, 3;
        overflow, plain, 4;
        bound_range_exceeded, plain, 5;
        invalid_opcode, plain, 6;
        device_not_available, plain, 7;
        double_fault, with_code, 8;
        invalid_tss, with_code, 10;
        segment_not_present, with_code, 11;
        stack_segment_fault, with_code, 12;
        general_protection_fault, with_code, 13;
        page_fault, with_code, 14;
        x87_floating_point, plain, 16;
        alignment_check, with_code, 17;
        machine_check, plain, 18;
        simd_floating_point, plain, 19;
        virtualization, plain, 20;
        cp_protection_exception, with_code, 21;
    }
    idt
}

fn use_stack(options: &mut EntryOptions, stack: u16) {
    // SAFETY: both stacks are set up in `init`, before the table is loaded, and no other kind of gate uses them.
    unsafe { options.set_stack_index(stack) };
}
