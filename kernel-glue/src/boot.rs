//! From QEMU's PVH entry to `main`.

use crate::kernel::Kernel;
use crate::{acpi_tables, boot_info, clock, console, exceptions, exit, heap, logger, paging, pci};
use core::arch::global_asm;

// The entry. PVH: 32-bit protected mode, paging off, flat segments, interrupts off, `ebx` = address of the start
// information. This code zeroes .bss, maps the low 4 GiB one to one with 2 MiB pages, and goes to long mode.
global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18                      // length of name and of contents, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad kernel_glue_entry

    .section .text.boot, "ax", @progbits
    .code32
    .global kernel_glue_entry
kernel_glue_entry:
    cli
    cld
    mov esi, ebx

    mov edi, offset __bss_start
    mov ecx, offset __bss_end
    sub ecx, edi
    shr ecx, 2
    xor eax, eax
    rep stosd

    mov eax, offset boot_pdpt + 3       // present, writable
    mov [boot_pml4], eax
    mov eax, offset boot_directories + 3
    mov edi, offset boot_pdpt
    mov ecx, 4
2:  mov [edi], eax
    add edi, 8
    add eax, 4096
    dec ecx
    jnz 2b
    mov eax, 0x83                       // present, writable, 2 MiB
    mov edi, offset boot_directories
    mov ecx, 2048
3:  mov [edi], eax
    add edi, 8
    add eax, 0x200000
    dec ecx
    jnz 3b

    mov eax, offset boot_pml4
    mov cr3, eax
    mov eax, 0x620                      // PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080                 // EFER
    rdmsr
    or eax, 0x100                       // LME
    wrmsr
    mov eax, 0x80010033                 // PG, WP, NE, ET, MP, PE; neither EM nor TS: SSE may be used
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    mov esp, offset kernel_stack_top
    mov eax, 0x08                       // by a register: `push` of a constant is assembled as 16 bits here
    push eax
    mov eax, offset kernel_glue_entry_64
    push eax
    retf

    .code64
kernel_glue_entry_64:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, offset kernel_stack_top
    xor ebp, ebp
    mov edi, esi
    call {start}
    ud2

    .section .rodata.boot, "a", @progbits
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff            // 0x08: 64-bit code
    .quad 0x00cf92000000ffff            // 0x10: data
boot_gdt_pointer:
    .word 23
    .long boot_gdt

    .section .bss.boot, "aw", @nobits
    .balign 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_directories: .skip 4 * 4096
    .global kernel_stack_guard
kernel_stack_guard: .skip 4096          // unmapped by `paging`
    .skip {stack_bytes}
    .global kernel_stack_top
kernel_stack_top:
    .text
    "#,
    start = sym start,
    stack_bytes = const STACK_BYTES,
);

/// The stack of `main`. A page fault in the page below it is reported as a stack overflow.
const STACK_BYTES: usize = 512 * 1024;

unsafe extern "Rust" {
    /// Written by [`entry!`](crate::entry).
    safe fn kernel_glue_main(kernel: &'static Kernel) -> u8;
}

/// The first Rust code. Each step needs the ones before it.
extern "C" fn start(start_info: u64) -> ! {
    console::init();
    // SAFETY: the entry code passes what the boot loader left in `ebx`, and mapped the low 4 GiB; nothing was written
    // since but .bss, the stack and the console.
    let boot_info = unsafe { boot_info::read(start_info) };
    logger::init(crate::args::value(boot_info.command_line(), "log"));
    exceptions::init();
    // SAFETY: this is called once, before anything but the kernel image uses memory.
    let mapped = unsafe { paging::init(boot_info) };
    // The ACPI tables may lie in memory that becomes heap next.
    // SAFETY: the address is from the boot loader, all memory is identity mapped, and nothing overwrote the tables.
    let ecam = boot_info.rsdp.and_then(|address| unsafe { acpi_tables::ecam(address) });
    // SAFETY: called once; `mapped.free` is memory that nothing uses.
    unsafe { heap::init(boot_info, mapped.free) };
    clock::init();
    pci::init(boot_info, ecam);
    exit::exit(kernel_glue_main(Kernel::init(boot_info)))
}
