//! Where clients come from: sockets.
