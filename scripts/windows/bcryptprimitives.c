/* The bcryptprimitives.dll of Wine 8, which has none. Every program of Rust's loads it: std needs one function of it.
 *
 * So it is the place, too, for what a program under Wine needs before its first line: a start of a process that Wine
 * itself has failed is tried again, whoever asks for it (sitecustomize.py says when that is, and why it is no second
 * run). Every module that is loaded finds our `start` where it looks for CreateProcessW: the addresses of what a module
 * imports stand in a table of it ("PE Format", the .idata section). */
#include <windows.h>
#include <psapi.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length); /* RtlGenRandom of advapi32 */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
    while (length > 0) {
        ULONG piece = length > 0x10000 ? 0x10000 : (ULONG)length;
        if (!SystemFunction036(buffer, piece)) return FALSE;
        buffer += piece;
        length -= piece;
    }
    return TRUE;
}

#ifndef SYSTEM_START
#define SYSTEM_START CreateProcessW
#endif
enum { TRIES = 5, MODULES = 256 };

/* As CreateProcessW. */
static BOOL WINAPI start(LPCWSTR program, LPWSTR line, LPSECURITY_ATTRIBUTES process, LPSECURITY_ATTRIBUTES thread,
                         BOOL inherit, DWORD flags, LPVOID environment, LPCWSTR folder, LPSTARTUPINFOW how,
                         LPPROCESS_INFORMATION started) {
    BOOL well = FALSE;
    for (int tried = 0; tried < TRIES && !well; tried++) {
        well = SYSTEM_START(program, line, process, thread, inherit, flags, environment, folder, how, started);
        if (!well && GetLastError() != ERROR_INTERNAL_ERROR) break;
    }
    return well;
}

/* Puts `start` where the module's table of imports has CreateProcessW. */
static void take_its_place(BYTE *module, FARPROC from) {
    IMAGE_NT_HEADERS *headers = (IMAGE_NT_HEADERS *)(module + ((IMAGE_DOS_HEADER *)module)->e_lfanew);
    DWORD imports = headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT].VirtualAddress;
    if (!imports) return;
    for (IMAGE_IMPORT_DESCRIPTOR *library = (IMAGE_IMPORT_DESCRIPTOR *)(module + imports); library->Name; library++) {
        for (FARPROC *function = (FARPROC *)(module + library->FirstThunk); *function; function++) {
            DWORD was;
            if (*function != from || !VirtualProtect(function, sizeof *function, PAGE_READWRITE, &was)) continue;
            *function = (FARPROC)(void *)start;
            VirtualProtect(function, sizeof *function, was, &was);
        }
    }
}

BOOL WINAPI DllMain(HINSTANCE ours, DWORD reason, LPVOID reserved) {
    HMODULE modules[MODULES];
    DWORD size;
    (void)reserved;
    if (reason == DLL_PROCESS_ATTACH && EnumProcessModules(GetCurrentProcess(), modules, sizeof modules, &size)) {
        FARPROC from = GetProcAddress(GetModuleHandleW(L"kernel32"), "CreateProcessW");
        DWORD number = size / sizeof *modules;
        for (DWORD each = 0; each < number && each < MODULES; each++) {
            if (modules[each] != ours) take_its_place((BYTE *)modules[each], from);
        }
    }
    return TRUE;
}
