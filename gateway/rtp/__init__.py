"""RTP and RTCP of one leg: packets, order and time of what is heard, keys, reports. Pure."""
