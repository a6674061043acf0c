"""The refinement of a candidate's joints from the map at the joints."""
