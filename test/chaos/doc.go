// Package chaos runs the built server under load while it is killed, loses
// power, runs out of disk space, receives errors from system calls, waits for a
// stopped upstream, or reloads, and then compares what the server acknowledged
// with what arrived.
//
// Ledger is that comparison; everything else is in tests, which need root for
// disks that can fail, and the tag interop. Start reading at TestInteropChaos,
// which make chaos runs. TestInteropPowerCutAtFirstStart covers the first
// seconds of a new data folder, where every file is written for the first time.
package chaos
