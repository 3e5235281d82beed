"""The Realtime vocabulary: events, session config, audio frames on the wire, ids. Pure."""
