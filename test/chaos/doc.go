// Package chaos runs the built server under load while it is killed, loses
// power, runs out of disk space, receives errors from system calls, waits for a
// stopped upstream, or reloads, and then compares the acknowledged messages
// with those that arrived.
//
// Ledger makes that comparison. Everything else is in tests, which need the tag
// interop and, for disks that can fail, root. Start with TestInteropChaos,
// which is run by make chaos. TestInteropPowerCutAtFirstStart covers the first
// seconds of a new data folder, when every file is written for the first time.
package chaos
